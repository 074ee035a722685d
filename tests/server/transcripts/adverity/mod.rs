//! Adverity: the tests of its numbered behaviours. `src/dialects/adverity/README.md` describes them.

mod at_once;
mod bad_input;

#[test]
fn the_transcripts_hold() {
    super::play_all("adverity");
}

#[test]
fn the_table_is_complete() {
    super::table::check("adverity", "1C", 44);
}
