use super::*;

fn schema() -> Schema {
    Schema::new(vec![
        Field::new("view_id", DataType::Utf8, false),
        Field::new("campaignId", DataType::Int32, false),
        Field::new("status", DataType::Int32, true),
        Field::new("start_timestamp", instant(), false),
        Field::new("end_timestamp", instant(), false),
    ])
}

fn refused(sql: &str) -> String {
    check(sql, &schema()).expect_err(sql)
}

#[test]
fn types_are_those_a_table_stores() {
    let cases = [
        ("end_timestamp >= start_timestamp", DataType::Boolean),
        ("end_timestamp <= start_timestamp + interval '1 day'", DataType::Boolean),
        ("end_timestamp > '2024-01-01T00:00:00Z'", DataType::Boolean),
        ("date_part('epoch', end_timestamp - start_timestamp)", DataType::Float64),
        ("cast(end_timestamp - start_timestamp as bigint)", DataType::Int64),
        ("campaignId / 10", DataType::Int64),
        ("cast(status as smallint)", DataType::Int32),
        ("concat(cast(status / 100 as varchar), 'xx')", DataType::Utf8),
        ("upper(view_id)", DataType::Utf8),
        ("lpad(cast(status as varchar), 4, '0')", DataType::Utf8),
        ("date_trunc('hour', end_timestamp)", instant()),
        ("cast(end_timestamp as date)", DataType::Date32),
        ("CASE WHEN status >= 400 THEN 1.5 END", DataType::Float64),
    ];
    for (sql, expected) in cases {
        assert_eq!(check(sql, &schema()), Ok(expected.clone()), "{sql}");
        let compiled = compile(sql, &schema()).unwrap();
        assert_eq!(compiled.data_type(&schema()).unwrap(), expected, "{sql}");
    }
}

#[test]
fn what_is_not_a_function_of_the_row_is_refused() {
    for (sql, word) in [
        ("random() > 0.5", "random"),
        ("end_timestamp < now()", "now"),
        ("cast(end_timestamp as date) < current_date", "current_date"),
        ("count(*) > 1", "aggregate"),
        ("status = (select 1)", "subquery"),
        ("row_number() over () > 1", "window"),
        ("status = $1", "parameter"),
        ("status as x", "AS"),
        ("", "empty"),
        ("status >", "expected: an expression, found: EOF"),
        ("status in (select 1 from other)", "another table"),
        ("1 / 0", "divide by zero"),
        ("date_part('nonsense', end_timestamp)", "nonsense"),
        ("end_timestamp - start_timestamp", "date_part"),
        ("null", "cast"),
        ("nosuch(status)", "nosuch"),
        ("repeat(view_id, status) = 'x'", "plain number"),
        ("lpad(view_id, 2147483647) = 'x'", "2147483647 times as long"),
        ("rpad(repeat(view_id, 100), 100) = 'x'", "10000 times as long"),
        ("array_length(array_repeat(1, 1000000)) > 1", "1000000 times as long"),
        ("array_length(generate_series(1, status)) > 1", "list of any length"),
    ] {
        let message = refused(sql);
        assert!(
            message.to_lowercase().contains(&word.to_lowercase()),
            "{sql}: {message}"
        );
        assert!(!message.contains('\n'), "{message}");
        assert!(compile(sql, &schema()).is_err(), "{sql}");
    }
}

#[test]
fn an_expression_is_read_up_to_a_length_and_a_depth() {
    let sum = |terms: usize| format!("status > {}1", "1 + ".repeat(terms));
    assert_eq!(check(&sum(250), &schema()), Ok(DataType::Boolean));
    assert!(refused(&sum(1000)).contains("has 1001 operators"));
    assert!(refused(&sum(100_000)).contains("more than the 8192"));
    let nested = |levels: usize| format!("{}status{} > 1", "(".repeat(levels), ")".repeat(levels));
    assert_eq!(check(&nested(10), &schema()), Ok(DataType::Boolean));
    assert!(refused(&nested(11)).contains("11 deep, and may have 10"));
    let in_turn = "(status) + ".repeat(20) + "1 > 1 and view_id <> '((((((((((((((('";
    assert_eq!(check(&in_turn, &schema()), Ok(DataType::Boolean));
}

#[test]
fn an_unknown_column_comes_with_the_nearest_known_one() {
    assert_eq!(
        refused("end_timestmp > start_timestamp"),
        "there is no column \"end_timestmp\" (did you mean \"end_timestamp\"?)"
    );
    assert_eq!(
        refused("campaignid > 1"),
        "there is no column \"campaignid\" (did you mean \"campaignId\"?)"
    );
}

#[test]
fn aggregates_are_checked_against_the_group() {
    let groups = vec!["campaignId".to_owned()];
    let good = |sql: &str| check_aggregate(sql, &schema(), &groups).unwrap_or_else(|fault| panic!("{sql}: {fault}"));
    assert_eq!(good("cast(count(*) as int)").data_type, DataType::Int32);
    assert_eq!(good("count(distinct view_id)").data_type, DataType::Int64);
    assert_eq!(good("sum(status) / campaignId").data_type, DataType::Int64);
    let duration =
        good("cast(sum(cast(end_timestamp - start_timestamp as bigint)) as double) / (1000000.0 * count(*))");
    assert_eq!(duration.data_type, DataType::Float64);
    assert_eq!(duration.reads, ["end_timestamp", "start_timestamp"]);
    assert!(!good("count(*)").nullable);
    for (sql, word) in [
        ("status", "aggregates nothing"),
        ("sum(status) + status", "outside of an aggregate"),
        ("sum(count(*))", "inside"),
        ("approx_median(status)", "batched"),
        ("array_agg(status)", "store"),
        ("sum(view_i)", "view_id"),
        ("sum(view_id)", "Function 'sum' failed to match any signature"),
    ] {
        let fault = check_aggregate(sql, &schema(), &groups).expect_err(sql).to_string();
        assert!(fault.contains(word) && fault.len() < 120, "{sql}: {fault}");
    }
}
