//! Each thing that can be wrong in the declaration of a layer.

use super::broken::{BRONZE, GOLD, check, problems};

#[test]
fn the_project_is_good_before_it_is_broken() {
    assert_eq!(problems(&[]), Vec::<String>::new());
}

#[test]
fn problems_of_bronze_are_found() {
    let at = |from, to, expected: &[&str]| check("bronze.toml", from, to, expected);
    at(
        "\"SASL_SSL\"",
        "\"SASL_SSL\"\n\"group.id\" = \"g\"\n\"ssl.key.location\" = \"client.key\"",
        &[],
    );
    at(
        "max_rows = 10",
        "max_rows = 10\nmax_rows = 11",
        &["bronze.toml:9: duplicate key"],
    );
    at(
        "kind = \"kafka\"",
        "kind = \"kafak\"",
        &["things/bronze.toml:2:source.kind: \"kafak\" is not known (did you mean \"kafka\"?)"],
    );
    at("kind = \"kafka\"", "", &["bronze.toml:1:source.kind: is missing"]);
    at(
        "topic =",
        "topik =",
        &[
            "bronze.toml:1:source.topic: is missing",
            "bronze.toml:4:source.topik: unknown key (did you mean \"topic\"?)",
        ],
    );
    at(
        "\"things\"",
        "\"my things\"",
        &["bronze.toml:4:source.topic: \"my things\" cannot name a topic"],
    );
    at(
        "\"things\"",
        "\"\"",
        &["bronze.toml:4:source.topic: must have 1 to 249 characters"],
    );
    at(
        "\"localhost:9092\"",
        "\"${BROKERS}\"",
        &["bronze.toml:3:source.brokers: the variable BROKERS is not set"],
    );
    at(
        "\"localhost:9092\"",
        "\"${BROKERS:?name the brokers}\"",
        &["bronze.toml:3:source.brokers: the variable BROKERS is not set: name the brokers"],
    );
    at(
        "max_rows = 10",
        "max_rows = 0",
        &["bronze.toml:8:commit.max_rows: must be between 1 and"],
    );
    at(
        "max_rows = 10",
        "max_rows = \"10\"",
        &["bronze.toml:8:commit.max_rows: must be an integer, not a string"],
    );
    at(
        "max_rows = 10",
        "max_delay = \"0s\"\nmax_bytes = \"5 parsecs\"",
        &[
            "bronze.toml:8:commit.max_delay: must be between",
            "bronze.toml:9:commit.max_bytes: \"5 parsecs\" is not a size",
        ],
    );
    at(
        "topic = \"things\"",
        "topic = \"things\"\nidle_after = \"0s\"",
        &["bronze.toml:5:source.idle_after: must be at least 1ms"],
    );
    at(
        "topic = \"things\"",
        "topic = \"things\"\nstalled_after = \"999ms\"",
        &["bronze.toml:5:source.stalled_after: must be at least 1s"],
    );
    at("topic = \"things\"", "topic = \"things\"\nstalled_after = \"1s\"", &[]);
    at(
        "\"SASL_SSL\"",
        "\"SASL_SSL\"\n\"sasl.password\" = \"hunter2\"",
        &["bronze.toml:7:source.options.sasl.password: is a secret"],
    );
    at("\"SASL_SSL\"", "\"SASL_SSL\"\n\"sasl.password\" = \"${PASSWORD}\"", &[]);
    at(
        "\"SASL_SSL\"",
        "\"SASL_SSL\"\n\"sasl.password\" = { env = \"PASSWORD\" }",
        &[],
    );
    at(
        "\"SASL_SSL\"",
        "\"SASL_SSL\"\n\"sasl.password\" = { env = \"NONE\" }",
        &["bronze.toml:7:source.options.sasl.password.env: the variable NONE is not set"],
    );
    at(
        "\"SASL_SSL\"",
        "\"SASL_SSL\"\n\"sasl.password\" = { file = \"none\" }",
        &["bronze.toml:7:source.options.sasl.password.file: \"none\" cannot be read"],
    );
    at(
        "\"SASL_SSL\"",
        "\"SASL_SSL\"\n\"auto.offset.reset\" = \"earliest\"",
        &["bronze.toml:7:source.options.auto.offset.reset: medallion sets this option itself"],
    );
    at("topic = \"things\"", "topic = ", &["bronze.toml:4: "]);
    at(
        "[commit]",
        "[commits]",
        &["bronze.toml:7:commits: unknown key (did you mean \"commit\"?)"],
    );
}

#[test]
fn problems_of_a_files_source_are_found() {
    let files = |to: &str, expected: &[&str]| {
        let from = &BRONZE[..BRONZE.find("[commit]").unwrap()];
        check(
            "bronze.toml",
            from,
            &format!("source = {{ kind = \"files\", {to} }}\n"),
            expected,
        );
    };
    files("paths = [\"data/*.gz\"]", &[]);
    files("paths = []", &["bronze.toml:1:source.paths: must name at least one"]);
    files(
        "paths = [\"*/x\"]",
        &["bronze.toml:1:source.paths: \"*/x\" has a pattern before its last segment"],
    );
    files(
        "paths = [\"a\"], topic = \"x\"",
        &["bronze.toml:1:source.topic: unknown key"],
    );
}

#[test]
fn problems_of_silver_are_found() {
    let at = |from, to, expected: &[&str]| check("silver.toml", from, to, expected);
    at(
        "event_time = \"at\"",
        "event_time = \"att\"",
        &["things/silver.toml:2:event_time: there is no column \"att\" in the schema (did you mean \"at\"?)"],
    );
    at(
        "event_time = \"at\"",
        "event_time = \"id\"",
        &["silver.toml:2:event_time: column \"id\" is not a timestamp"],
    );
    at(
        "event_time = \"at\"",
        "event_tme = \"at\"",
        &[
            "silver.toml:1:event_time: is missing",
            "silver.toml:2:event_tme: unknown key (did you mean \"event_time\"?)",
        ],
    );
    at(
        "max_ahead = \"1h\"",
        "max_ahead = \"1 hour\"",
        &["silver.toml:3:max_ahead: \"1 hour\" is not a duration"],
    );
    at(
        "max_ahead = \"1h\"",
        "partition_by = [\"id\"]",
        &["silver.toml:3:partition_by: silver cannot be partitioned by \"id\""],
    );
    at(
        "key = [\"id\"]",
        "key = [\"idd\", \"size\"]",
        &[
            "silver.toml:4:dedupe.key: there is no column \"idd\" in the schema (did you mean \"id\"?)",
            "silver.toml:4:dedupe.key: column \"size\" can be null",
        ],
    );
    at(
        "\"1d\"",
        "\"always\"",
        &["silver.toml:4:dedupe.within: \"always\" is not a duration"],
    );
    at(
        "regions.csv",
        "region.csv",
        &["silver.toml:6:lookup[0].file: there is no file"],
    );
    at(
        "on = [\"place\"]",
        "on = [\"plce\"]",
        &[
            "silver.toml:7:lookup[0].on: there is no column \"plce\" in the schema (did you mean \"place\"?)",
            "silver.toml:7:lookup[0].on: there is no column \"plce\" in the file (did you mean \"place\"?)",
        ],
    );
    at(
        "take = [\"region\"]",
        "take = [\"id\"]",
        &[
            "silver.toml:8:lookup[0].take: column \"id\" collides with column \"id\"",
            "silver.toml:8:lookup[0].take: there is no column \"id\" in the file",
        ],
    );
    at(
        "take = [\"region\"]",
        "take = [\"region\"]\ntypes = { region = \"text\" }",
        &["silver.toml:9:lookup[0].types.region: \"text\" is not a type"],
    );
    at(
        "on_missing = \"null\"",
        "on_missing = \"nul\"",
        &["silver.toml:9:lookup[0].on_missing: \"nul\" is not known (did you mean \"null\"?)"],
    );
    at(
        "\"size > 10\"",
        "\"sise > 10\"",
        &["silver.toml:12:derive[0].sql: there is no column \"sise\" (did you mean \"size\"?)"],
    );
    at(
        "\"size > 10\"",
        "\"random() > 0.5\"",
        &["silver.toml:12:derive[0].sql: random() gives another value on every run"],
    );
    at(
        "\"large\"",
        "\"_large\"",
        &[
            "silver.toml:11:derive[0].name: column \"_large\" starts with an underscore",
            "silver.toml:15:derive[1].sql: there is no column \"large\"",
        ],
    );
    at(
        "\"double_size\"",
        "\"Event_Date\"",
        &["silver.toml:14:derive[1].name: column \"Event_Date\" collides with event_date"],
    );
    at(
        "\"size > 0\"",
        "\"size + 1\"",
        &["silver.toml:18:expect[0].check: must be true or false, but its type is Int64"],
    );
    at(
        "\"reject\"",
        "\"rejekt\"",
        &["silver.toml:19:expect[0].on_fail: \"rejekt\" is not known (did you mean \"reject\"?)"],
    );
    at(
        "on_fail = \"reject\"",
        "[[expect]]\nname = \"sized\"\ncheck = \"true\"",
        &["silver.toml:20:expect[1].name: there are two rules named \"sized\""],
    );
    at("thing.json", "thin.json", &["silver.toml:1:schema: there is no file"]);
}

#[test]
fn problems_of_gold_are_found() {
    let at = |from, to, expected: &[&str]| check("gold.toml", from, to, expected);
    at(
        "\"per_minute\"",
        "\"Per Minute\"",
        &["things/gold.toml:2:table[0].name: \"Per Minute\" cannot name a table"],
    );
    at(
        "\"1m\"",
        "\"0m\"",
        &["gold.toml:3:table[0].window.tumbling: must be more than 0"],
    );
    at(
        "tumbling = \"1m\"",
        "sliding = \"1m\"",
        &[
            "gold.toml:3:table[0].window.tumbling: is missing",
            "gold.toml:3:table[0].window.sliding: unknown key",
        ],
    );
    at(
        "start = \"minute\"",
        "start = \"region\"",
        &[
            "gold.toml:3:table[0].window.start: column \"region\" collides with column \"region\"",
            "gold.toml:6:table[0].partition_by: there is no output column \"minute\"",
        ],
    );
    at(
        "watermark = \"10s\"",
        "",
        &["gold.toml:1:table[0].watermark: is missing"],
    );
    at(
        "group_by = [\"region\"]",
        "group_by = [\"regoin\"]",
        &["gold.toml:5:table[0].group_by: silver has no column \"regoin\" (did you mean \"region\"?)"],
    );
    at(
        "group_by = [\"region\"]",
        "group_by = [\"_seq\"]",
        &["gold.toml:5:table[0].group_by: \"_seq\" says where a row came from"],
    );
    at(
        "group_by = [\"region\"]",
        "group_by = [\"weight\"]",
        &["gold.toml:5:table[0].group_by: column \"weight\" is a double"],
    );
    at(
        "partition_by = [\"minute\"]",
        "partition_by = [\"mean\"]",
        &["gold.toml:6:table[0].partition_by: column \"mean\" is a double"],
    );
    at(
        "partition_by = [\"minute\"]",
        "partition_by = [\"region\"]",
        &[
            "gold.toml:6:table[0].partition_by: column \"region\" is a string, and Delta reads the empty string of a \
           partition as null (partition by a date, a timestamp or an integer column)",
        ],
    );
    at(
        "\"sum(size)\"",
        "\"size\"",
        &["gold.toml:8:table[0].columns.total: aggregates nothing"],
    );
    at(
        "\"sum(size)\"",
        "\"sum(sise)\"",
        &["gold.toml:8:table[0].columns.total: there is no column \"sise\" (did you mean \"size\"?)"],
    );
    at(
        "\"sum(size)\"",
        "\"array_agg(size)\"",
        &["gold.toml:8:table[0].columns.total: has type"],
    );
    at(
        "\"sum(size)\"",
        "7",
        &["gold.toml:8:table[0].columns.total: must be a SQL string"],
    );
    at(
        "description = \"mean size\"",
        "descripton = \"mean size\"",
        &["gold.toml:9:table[0].columns.mean.descripton: unknown key (did you mean \"description\"?)"],
    );
    at(
        "partition_by",
        "order = [\"total\", \"minute\", \"meen\"]\npartition_by",
        &[
            "gold.toml:6:table[0].order: there is no output column \"meen\" (did you mean \"mean\"?)",
            "gold.toml:6:table[0].order: lacks region, mean",
        ],
    );
    at(
        "[[table]]",
        "[[tables]]\n[[table]]",
        &["gold.toml:1:tables: unknown key (did you mean \"table\"?)"],
    );
    at(GOLD, "", &["gold.toml:1:table: is missing"]);
    at(
        GOLD,
        "table = \"x\"",
        &["gold.toml:1:table: must be a list of tables, [[table]], not a string"],
    );
    at(
        GOLD,
        &format!("{GOLD}\n{GOLD}"),
        &["gold.toml:12:table[1].name: there are two tables named \"per_minute\""],
    );
}
