//! `pins`: the table that every operator's copy of this program must agree on.

use crate::support::TestEnv;

#[test]
fn the_table_for_people() {
    snapshot!("pins", TestEnv::new().run(&["pins"]).exits(0));
}

#[test]
fn the_table_for_programs() {
    snapshot!(
        "pins_json",
        TestEnv::new().run(&["pins", "--format", "json"]).exits(0)
    );
}
