//! Backups.

sentences! { "backups":
    absolute_path() = "must be an absolute path";
    checking() = "another backup is being checked; wait for its end";
    copy(path, cause) = "the backup {path} cannot be copied for the check: {cause}";
    copy_differs(table, from, to) = "the copy of the table {table} differs from what it was made of ({from} rows there, {to} in the copy); it was not used";
    exists(path) = "{path} is there already; a backup replaces nothing, name another file";
    file_is_local() = "only the administrator of the machine chooses where a backup lands; leave file out";
    folder(folder, cause) = "the folder {folder} cannot be made: {cause}";
    newer_schema(version, known) = "the database has schema {version}, and this program knows {known}; make the backup on a node with the newer program";
    room_to_check() = "the disk has too little room for a copy of the backup, on which the check works; remove something, or check the backup on another machine";
    running() = "a backup is being made already; wait for its end";
    secrets_are_local() = "only the administrator of the machine takes a copy of the key files";
    useless(why) = "no backup was made, because a restore would refuse it ({why}); `latchkey doctor` shows what is wrong and what to do";
    useless_database(faults) = "a backup of this database could not be restored, so none was made: {faults}; `latchkey doctor` shows how to repair it";
    write(path, cause) = "the backup {path} cannot be written: {cause}";
}
