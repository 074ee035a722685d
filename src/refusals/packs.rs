//! Packs, and the sites that they are made for.

sentences! { "packs":
    asked_again() = "the site has asked again meanwhile; this question gets no other answer";
    being_made() = "a pack of the site is being made; ask again";
    body(place) = "the pack's body is damaged ({place})";
    changed() = "the pack's body is not the one that was signed";
    cut() = "the pack is cut off or has bytes behind its end";
    clock_ahead() = "this machine's date is more than a day ahead and not believed yet, and a pack of a wrong date locks the sites that take it; correct the date, or confirm it: latchkey clock accept";
    head() = "the pack's head cannot be read";
    key_sealed(version) = "version {version} of the key that signs packs cannot be opened with the sealing key of this data folder";
    life() = "must be the life of a site's state, as latchkey site status shows it there";
    linked() = "must be false, which drops the link; a site is linked when it asks";
    local() = "only the administrator of the machine enrols sites and rotates the key that signs packs";
    log_too_short(since) = "the audit log no longer reaches back to event {since}, so what has ended since is not known; make a pack, or name the event of the pack that the site has";
    made_often() = "the site has had many packs lately, so its next one is made a little later; ask again";
    meanwhile(site) = "another pack of site {site} was made meanwhile; try again";
    no_enrolment() = "the file is not an enrolment of a site";
    no_pack() = "the file is not a pack";
    no_question() = "the body is not the question of a site";
    no_report() = "the file is not the report of a site";
    no_revocations() = "the text is not a list of revocations, or not all of it";
    no_site() = "there is no site yet; enrol one: latchkey site add NAME --workspace WORKSPACE --out FILE";
    no_word() = "the answer is not the word of a server, or was changed";
    none_ended() = "no key has ended since";
    note() = "the pack's head is not a signed note";
    other_base() = "the pack is the difference from another base";
    passphrase() = "the passphrase is wrong, or the file is damaged";
    server_name() = "must be a name such as keys.example.com: a-z, 0-9, dots and hyphens, at most 100 characters";
    signature(key) = "the pack has a signature of {key} that this key has not made";
    signing_keys_unusable(path, cause) = "the file of the keys that sign packs, {path}, cannot be used: {cause}. Let it be a file that the owner of the data folder can read; or, if it has no keys that the database lacks, move it away, and it is written again";
    site_altered(name) = "site {name} was changed past Latchkey, so it gets nothing until that is accepted; see: latchkey doctor";
    site_exists(name) = "there is a site {name}, or there was one; a name is used once";
    site_name() = "must be 1 to 63 characters: a-z, 0-9 and hyphens, beginning with a letter or a digit";
    site_sealed(name) = "the key of site {name} cannot be opened with the sealing key of this data folder; remove the site and enrol it under another name";
    sites_most(most) = "a server has at most {most} sites, with those that were removed";
    strange_question() = "the question was not made with the key of its site, or was changed";
    strange_report() = "the report was not made with the key of its site, or was changed";
    strange_revocations() = "no key that is trusted has signed the revocations";
    strange_signer(signers) = "no key that is trusted has signed the pack, only {signers}";
    too_many_ended(count) = "{count} keys have ended since, which are too many for QR codes; make a pack";
    unconfirmed(sites) = "the change is made, but these sites may still answer as before it: {sites}";
    unconfirmed_site(site, until) = "{site} until {until} at the latest";
    unknown_catalog() = "is not a catalog of this server";
    unreadable(path) = "{path} cannot be read; make a new pack: latchkey pack make --site NAME --whole --out DIR";
    until(least, most) = "must be between {least} and {most} seconds";
    unwritable(path, cause) = "{path} cannot be written: {cause}";
}

/// Whether the reason is that a site is not known to have a change which is made.
pub fn is_unconfirmed(why: &super::Refusal) -> bool {
    why.code() == "packs.unconfirmed"
}
