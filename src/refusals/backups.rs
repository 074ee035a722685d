//! Backups.

sentences! { "backups":
    absolute_path() = "must be an absolute path";
    exists(path) = "{path} is there already; a backup replaces nothing, name another file";
    file_is_local() = "only the administrator of the machine chooses where a backup lands; leave file out";
    folder(folder, cause) = "the folder {folder} cannot be made: {cause}";
    running() = "a backup is being made already; wait for its end";
    secrets_are_local() = "only the administrator of the machine takes a copy of pepper and sealing key";
    useless(why) = "no backup was made, because a restore would refuse it ({why}); `latchkey doctor` shows what is wrong and what to do";
    useless_database(faults) = "a backup of this database could not be restored, so none was made: {faults}; `latchkey doctor` shows how to repair it";
    write(path, cause) = "the backup {path} cannot be written: {cause}";
}
