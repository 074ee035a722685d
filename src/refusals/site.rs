//! Sites: what a site does not do, and why it takes a pack or not.

sentences! { "site":
    base_missing(pack, base, held: Refusal) = "pack {pack} has what was changed since pack {base}, but {held}; apply pack {base} together with it";
    base_of_other(base) = "pack {base} does not belong to it";
    at_server(server) = "this is a site of {server}; sites are enrolled, and packs made, there";
    before_link(pack) = "pack {pack} is older than what the link has brought here; make a new one";
    change_keys_there(server) = "this is a site of {server}; change keys there";
    console_off() = "the site does not run, or its console is off; start it: latchkey serve --site";
    enrolled(site, server) = "this is the site {site} of {server} already; packs are applied with: latchkey pack apply FILE";
    fork(server) = "what {server} signs now does not follow what this site knows: it was restored from a backup, or an older copy of its folder was put back. The site keeps what it has; look at the server, and if its state is the right one: latchkey site reset";
    held(base) = "this site holds pack {base}";
    held_none() = "this site holds none";
    is_local() = "only the administrator of the machine does this at a site";
    is_server() = "this data folder is that of a server, with users of its own; name another one for the site";
    key_files(server) = "the pepper of a site comes from {server}: rotate it there, and the next pack brings the new version here. What else is in the key files belongs to this folder alone, and no backup of it is needed: a lost site is enrolled again";
    made_before(pack, made, least) = "pack {pack} was made at {made}, before {least}, which this site knows has passed; make a new one. If {least} has not come yet, the newest pack was made under a wrong date: latchkey site reset --date";
    no_backup(server) = "a site needs no backup: what it verifies comes with the packs of {server}, and a lost site is enrolled again. To keep what is to be reported: latchkey site report --out DIR";
    no_fork() = "there is nothing to decide: what the server signs follows what this site knows";
    no_wrong_date(made, date) = "the newest pack was made at {made}, which is not after the date of this machine, {date}; there is nothing to accept";
    no_key(id) = "this site has no key {id}";
    no_signing_key(server) = "must be a key that signs the packs of {server}, as GET /v1/packs/signing-keys lists it there";
    no_word() = "PACK_STALE: this linked site has had no word of its server yet; see: latchkey site status";
    no_word_since(seconds) = "PACK_STALE: this linked site has had no word of its server for {seconds} s; see: latchkey site status";
    of_server(server) = "this is a site of {server}: it verifies, and has its own audit log and clock; everything else is there";
    older(pack, held) = "pack {pack} is not newer than pack {held}, which was applied already";
    other_question() = "what was answered is not the word to the question that was asked";
    other_reign(pack) = "pack {pack} is of a time before the server was restored";
    other_server(server) = "it is signed for another server, {server}";
    other_site(site, own) = "it is for the site {site}, and this is {own}";
    pack_count() = "one pack, or a whole pack and a pack that follows it";
    not_site() = "this data folder is not that of a site; start it without --site, or enrol it: latchkey site init FILE --data DIR";
    page_is_local() = "the page of a site is only for its own machine: open it there, or read it with: latchkey site status";
    removed(server) = "{server} has removed this site, so it gives no verdict any more";
    revocations_of_reign() = "the revocations are of a time before the server was restored";
    serve_as_site(site, server) = "this data folder is that of the site {site} of {server}; start it with: latchkey serve --site";
    stale(until) = "PACK_STALE: the newest pack of this site counted until {until}; bring a newer one: latchkey pack apply FILE";
    stale_distrusts(made) = "PACK_STALE: an older copy has replaced the database of this site; bring a pack that was made at {made} or later: latchkey pack apply FILE";
    stale_none() = "PACK_STALE: this site has no pack that counts; bring a newer one: latchkey pack apply FILE";
    state_damaged() = "the state of this site cannot be read with its sealing key; put the data folder back from a copy of this site, or enrol the site again: latchkey site init FILE --data DIR";
    trusted(key) = "this site trusts the key {key} already";
}

/// Whether a pack is the reason: it no longer counts, or there is none.
pub fn is_stale(why: &super::Refusal) -> bool {
    let codes = [
        "site.no_word",
        "site.no_word_since",
        "site.stale",
        "site.stale_distrusts",
        "site.stale_none",
    ];
    codes.contains(&why.code())
}
