//! Schemas, reference data, missing files, and problems of many files at once.

use std::fs;

use super::broken::{check, problems, told, write};

#[test]
fn problems_of_schema_and_reference_data_are_found() {
    check(
        "thing.json",
        "\"minimum\": 1",
        "\"multipleOf\": 1",
        &["schemas/thing.json:8:properties.size.multipleOf: the keyword \"multipleOf\" is not supported"],
    );
    check(
        "thing.json",
        "\"place\"]",
        "\"plaice\"]",
        &["schemas/thing.json:3:required: \"plaice\" is not in properties (did you mean \"place\"?)"],
    );
    check(
        "thing.json",
        "\"weight\"",
        "\"ID\"",
        &["schemas/thing.json:9:properties.ID: column \"ID\" collides with column \"id\""],
    );
    check(
        "regions.csv",
        "2,south",
        "01,south",
        &["data/regions.csv:3:place: the key 1 is already on line 2"],
    );
    check(
        "regions.csv",
        "2,south",
        "two,south",
        &["data/regions.csv:3:place: \"two\" is not an int32"],
    );
    check(
        "regions.csv",
        "2,south",
        "2",
        &["data/regions.csv:3: has 1 values, but the header has 2 columns"],
    );
    check(
        "regions.csv",
        "place,region",
        "place,place",
        &["data/regions.csv:1:place: is there twice"],
    );
}

#[test]
fn a_broken_column_causes_no_second_problem() {
    check(
        "silver.toml",
        "\"size > 10\"",
        "\"size >\"",
        &["silver.toml:12:derive[0].sql: "],
    );
    check(
        "regions.csv",
        "1,north",
        "1,north,more",
        &["data/regions.csv:2: has 3 values"],
    );
}

#[test]
fn problems_of_all_files_come_at_once() {
    let found = problems(&[
        ("bronze.toml", "topic", "topik"),
        ("silver.toml", "event_time", "time"),
        ("gold.toml", "watermark", "watermerk"),
        ("thing.json", "\"integer\"", "\"int\""),
    ]);
    let places: Vec<String> = found
        .iter()
        .map(|it| it.splitn(4, ':').take(3).collect::<Vec<_>>().join(":"))
        .collect();
    assert_eq!(
        places,
        [
            "layers/things/bronze.toml:1:source.topic",
            "layers/things/bronze.toml:4:source.topik",
            "layers/things/silver.toml:1:event_time",
            "layers/things/silver.toml:2:time",
            "schemas/thing.json:7:properties.place.type",
            "schemas/thing.json:8:properties.size.type",
            "layers/things/gold.toml:1:table[0].watermark",
            "layers/things/gold.toml:4:table[0].watermerk",
        ]
    );
}

#[test]
fn files_that_are_not_there_or_not_text_are_named() {
    let folder = tempfile::tempdir().unwrap();
    assert!(told(folder.path())[0].contains("layers: cannot be read"));
    fs::create_dir_all(folder.path().join("layers/.hidden")).unwrap();
    assert!(told(folder.path())[0].contains("layers: declares no pipeline"));
    write(folder.path(), "layers/things/bronze.toml", b"a = 1\n\xff");
    fs::create_dir_all(folder.path().join("layers/things/silver.toml")).unwrap();
    let found = told(folder.path());
    assert_eq!(found[0], "layers/things/bronze.toml:2: is not UTF-8");
    assert!(
        found[1].starts_with("layers/things/silver.toml: cannot be read"),
        "{found:?}"
    );
    assert_eq!(found[2], "layers/things/gold.toml: there is no such file");
    fs::rename(
        folder.path().join("layers/things"),
        folder.path().join("layers/My-Things"),
    )
    .unwrap();
    assert!(told(folder.path())[0].starts_with("layers/My-Things: \"My-Things\" cannot name a table"));
}
