//! The server and its store: what stops changes, and what only the administrator of the machine may do.

sentences! { "server":
    busy() = "too many changes are waiting; try again";
    changed_outside(kind: Refusal, id) = "this {kind} was changed past Latchkey and is closed; the administrator of the machine looks at it and accepts it: latchkey doctor accept {kind} {id}";
    changed_outside_is_local() = "only the administrator of the machine accepts what was changed past Latchkey";
    changed_outside_kind() = "must be catalog, key, policy, session, site, user or workspace";
    changed_outside_not(kind: Refusal, id) = "the {kind} {id} is what Latchkey last wrote; there is nothing to accept";
    clock_implausible(date, released, years) = "this machine's date is {date}; a right date is not before this version was released ({released}) and at most {years} years later. Correct the date first; if it is right, say --implausible";
    clock_is_local() = "only the administrator of the machine accepts its clock";
    clock_differs(seconds) = "the clock of this machine differs by {seconds} s from that of the server of the database, so nothing is issued or changed here; set the clock, or send the change to another node";
    constraint() = "the database refused the change";
    constraint_exists() = "something of that name exists already";
    constraint_referred() = "something else still refers to it";
    database_closed() = "the database is not open";
    database_damaged() = "the database is damaged; see the log";
    database_ended() = "the database ended the transaction; try again";
    database_locked() = "the database is locked by another program";
    database_replaced(path) = "{path} was deleted or replaced while the server runs, so changes are refused; verification goes on from memory. Put the file back, or save what is still open with: latchkey backup FILE, stop the server, and restore that file";
    database_unusable() = "the database cannot be read or written just now";
    disk_full() = "the disk is full; free some space, verification goes on";
    disk_reserve() = "the disk is full: what room is left is kept for changes that disable or delete something; free some space and try again";
    file_unreadable(path, cause) = "{path} cannot be read: {cause}";
    file_unwritable(path, cause) = "{path} cannot be written: {cause}";
    forget_node_is_local() = "only the administrator of a machine decides that a node is not waited for any more";
    exact_limit() = "this key has an exact rate limit, which is counted in the database, and the database does not answer just now; try again";
    exact_needs_upgrade(version) = "the database has schema {version}, in which rate limits cannot be exact; upgrade the cluster first, on one of its machines: latchkey cluster upgrade";
    forked(mine, theirs) = "the database does not have event {mine} of the audit log, which this node knows (its newest event is {theirs}): an older copy or another server has taken its place. Changes are refused; verification goes on from memory";
    knows_too_little(nodes) = "STALE: the database was replaced by an older copy, and this node does not know what had ended since, so it gives no verdicts and shows nothing until these nodes have ended it again: {nodes}";
    moved(to) = "this database was moved to {to}, and is not used here any more; if that move was interrupted, finish it with: latchkey move --to '{to}'. To go back to what was here before, restore a backup: latchkey restore FILE";
    node_id_twice() = "STALE: another process uses the id of this node, so its data folder was copied: stop the copy, delete the files node-id and known-nodes in its folder, and start it again as a node of its own. Until then the one of the two that was started later gives no verdicts and changes nothing";
    node_id_unusable(path, why) = "{path} has not the id of this node: {why}; put the file back, or delete it, and this folder counts as a new node";
    node_not_waited_for(node) = "no node {node} is waited for";
    not_saved() = "the connection to the database broke, and the change was not saved; try again";
    older_nodes(nodes, schema) = "nothing was changed, because these nodes are in use with an older program than one of schema {schema}: {nodes}. Start the newer program there, or stop them";
    outcome_unknown() = "it is not known whether this was saved; ask again with the same Idempotency-Key";
    program_too_old(version, oldest, own) = "the database has schema {version}, for programs of schema {oldest} and later, and this program is of schema {own}: start the newer program on this node";
    schema_of_file() = "the database is a file, which each program brings to its own schema when it opens it; only a database on a server is upgraded by a command";
    stale(seconds) = "STALE: this node was last certain {seconds} s ago to know every change, so it gives no verdicts and shows nothing until the database can be reached again";
    stale_changes(seconds) = "STALE: this node was last certain {seconds} s ago to know every change, so nothing is changed here until the database can be reached again; try again, or send the change to another node";
    stale_from_start() = "STALE: this node has not reached the database since its start, or does not have all changes yet, so it gives no verdicts and shows nothing";
    stopping() = "the server is stopping";
    tombstones_replaced(path) = "{path} was deleted or replaced while the server runs, so changes are refused; put the file back or restart the server, which makes it again from the audit log";
    tombstones_unusable(path, cause) = "{path} cannot be read or written ({cause}), so nothing can be deleted or disabled safely";
    upgrade_unknown() = "the connection to the database broke while the newer schema was being saved, so it is not known whether the database has it; run the same command again when the database can be reached: it changes nothing that was saved";
    upgrade_is_local() = "only the administrator of a machine upgrades the schema of the database";
    waits_for_nodes(nodes) = "the database was replaced by an older copy, and these nodes may know what had ended since and have not ended it again yet: {nodes}. Until then nothing is changed and nobody signs in; verification goes on. Start them; a node that is lost is given up with: latchkey cluster forget NODE";
}

/// Whether the clock of a node is the reason.
pub fn is_wrong_clock(why: &super::Refusal) -> bool {
    why.code() == "server.clock_differs"
}

/// Whether the change may have been saved all the same.
pub fn is_outcome_unknown(why: &super::Refusal) -> bool {
    why.code() == "server.outcome_unknown"
}

/// Whether a node that may be behind its database is the reason.
pub fn is_stale(why: &super::Refusal) -> bool {
    let codes = [
        "server.knows_too_little",
        "server.node_id_twice",
        "server.stale",
        "server.stale_changes",
        "server.stale_from_start",
    ];
    codes.contains(&why.code())
}
