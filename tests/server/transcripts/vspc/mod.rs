//! Veeam Service Provider Console: its numbered behaviours on the wire. What they are is in
//! `src/dialects/vspc/README.md`.

#[test]
fn the_transcripts_hold() {
    super::play_all("vspc");
}

#[test]
fn the_table_is_complete() {
    super::table::check("vspc", "1D", 48);
}
