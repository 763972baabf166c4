//! `keep` of each layer: what can be declared, and that it is no part of what a definition means.

use super::broken::check;

#[test]
fn a_row_stays_as_long_as_its_key_is_remembered() {
    let at = |to: &str, expected: &[&str]| check("silver.toml", "max_ahead = \"1h\"", to, expected);
    at("max_ahead = \"1h\"\nkeep = \"1d\"", &[]);
    at(
        "max_ahead = \"1h\"\nkeep = \"23h\"",
        &["silver.toml:4:keep: must be at least dedupe.within: silver's rows are the memory of its keys"],
    );
    check(
        "silver.toml",
        "dedupe = { key = [\"id\"], within = \"1d\" }",
        "dedupe = { key = [\"id\"], within = \"forever\" }\nkeep = \"900d\"",
        &["silver.toml:5:keep: silver remembers keys forever, and its rows are that memory"],
    );
    check(
        "silver.toml",
        "dedupe = { key = [\"id\"], within = \"1d\" }",
        "keep = \"1m\"",
        &[],
    );
}

#[test]
fn bronze_and_gold_keep_what_they_are_told() {
    check("bronze.toml", "[source]", "keep = \"30d\"\n[source]", &[]);
    check(
        "bronze.toml",
        "[source]",
        "keep = \"59s\"\n[source]",
        &["bronze.toml:1:keep: must be at least 1m"],
    );
    check(
        "gold.toml",
        "watermark = \"10s\"",
        "watermark = \"10s\"\nkeep = \"24w\"",
        &[],
    );
    check(
        "gold.toml",
        "watermark = \"10s\"",
        "watermark = \"10s\"\nkeep = \"forever\"",
        &["gold.toml:5:table[0].keep: \"forever\" is not a duration"],
    );
}
