//! Packs, and the sites that they are made for.

sentences! { "packs":
    body(place) = "the pack's body is damaged ({place})";
    changed() = "the pack's body is not the one that was signed";
    cut() = "the pack is cut off or has bytes behind its end";
    head() = "the pack's head cannot be read";
    no_enrolment() = "the file is not an enrolment of a site";
    no_report() = "the file is not the report of a site";
    no_revocations() = "the text is not a list of revocations, or not all of it";
    no_pack() = "the file is not a pack";
    note() = "the pack's head is not a signed note";
    other_base() = "the pack is the difference from another base";
    passphrase() = "the passphrase is wrong, or the file is damaged";
    signature(key) = "the pack has a signature of {key} that this key has not made";
    strange_report() = "the report was not made with the key of its site, or was changed";
    strange_revocations() = "no key that is trusted has signed the revocations";
    strange_signer(signers) = "no key that is trusted has signed the pack, only {signers}";
}
