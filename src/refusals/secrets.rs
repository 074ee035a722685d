//! Versions of the key files: rotating and retiring them.

sentences! { "secrets":
    copies_are_not_used() = "the sealing key makes copies of secrets, which no request uses; a copy that stays is of a key or of one-time codes that were changed past Latchkey";
    file_changed(path) = "{path} is not the file that the server has read at its start; restart the server, or put the file back, and try again";
    kind() = "must be pepper, seal-key or sealing-key";
    local() = "only the administrator of the machine rotates or retires pepper, sealing key and seal key";
    needed(version, key, things) = "version {version} of the {key} is still needed by {things}. Digests of keys and of passwords are replaced when they are used the next time, and sessions end after a while: latchkey secrets status. Marks of imported keys, by which a repeated import recognises them, stay, and so do recovery codes until their users make new ones. What is left can be disabled or ended: --disable-unseen";
    needed_by_copies(version, key, things) = "version {version} of the {key} is still needed by {things}, which could not be made again; see latchkey doctor, and rotate or delete these keys, or remove the second factor of these users";
    needed_meanwhile(version, key) = "version {version} of the {key} was used meanwhile; try again";
    newest(version, key, file) = "version {version} is the newest of the {key}; rotate it first: latchkey secrets rotate {file}";
    no_more_versions(key) = "the {key} has too many versions; retire older ones, and begin a new data folder if that does not help";
    not_removed(path, cause, version) = "the database has forgotten version {version}, but {path} cannot be written: {cause}. Remove the line that begins with `{version} ` before the next start, or the version comes back";
    provided(file, path, version) = "the {file} is a credential of the service manager ({path}), which the server cannot replace. Append a line to its source, for example: printf '{version} %s\\n' \"$(openssl rand -hex 32)\" >> /etc/latchkey/{file} (encrypted sources: decrypt, append, encrypt). Then restart the server, which begins to use it, and save the files: latchkey secrets backup FILE";
    unreadable(path, cause) = "{path} cannot be read: {cause}";
    unsettled(key, file) = "not everything is loaded or under the newest version of the {key} yet; wait, or finish it with: latchkey secrets rotate {file}";
    unwritable(path, cause, version) = "{path} cannot be written: {cause}. Make the data folder writable for the server; or append a line by hand, for example: printf '{version} %s\\n' \"$(openssl rand -hex 32)\" >> {path}, and restart the server";
}
