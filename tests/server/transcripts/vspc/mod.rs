//! Veeam Service Provider Console: the tests of its numbered behaviours. `src/dialects/vspc/README.md` describes them.

#[test]
fn the_transcripts_hold() {
    super::play_all("vspc");
}

#[test]
fn the_table_is_complete() {
    super::table::check("vspc", "1D", 48);
}
