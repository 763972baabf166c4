"""Data quality: what became of the records, which rules failed, what came twice or late, and whether it all adds up."""

from model import GREEN, ORANGE, RED, Query, bars, board, graph, row, stat, thresholds

# What silver refuses. A duplicate is a good record that came again, a dropped one was declared to be dropped.
REFUSED = '$P, reason!~"duplicate|dropped"'
RECORDS = "sum by (pipeline) (medallion_records_total{$P})"
RECORDS_RATE = "sum by (pipeline) (rate(medallion_records_total{$P}[$__rate_interval]))"

NOW = row(
    "Now",
    stat(
        "Records",
        "short",
        """Records that silver gave a fate since the tables began: each is a row of silver or of rejects.""",
        Query(RECORDS, "{{pipeline}}"),
        width=5,
    ),
    stat(
        "Not refused",
        "percentunit",
        """Share of all records since the tables began that silver did not refuse; duplicates and declared drops are no
        refusals. Low: see the reasons and rules below, then docs/runbook.md#rejectratehigh.""",
        Query(f"1 - sum by (pipeline) (medallion_rejected_rows_total{{{REFUSED}}}) / clamp_min({RECORDS}, 1)", "{{pipeline}}"),
        width=5,
        steps=thresholds(RED, (0.9, ORANGE), (0.98, GREEN)),
    ),
    stat(
        "Duplicates",
        "percentunit",
        """Share of all records that came again under a key that silver knew. Harmless: each counts once. A sudden rise is a
        producer that sends twice.""",
        Query(
            f'sum by (pipeline) (medallion_rejected_rows_total{{$P, reason="duplicate"}}) / clamp_min({RECORDS}, 1)',
            "{{pipeline}}",
        ),
        width=5,
    ),
    stat(
        "Late rows",
        "short",
        """Rows since the tables began that came after their window had closed: they are in the late table, not in gold.
        Many: a longer `watermark` in gold.toml, and `replay gold`.""",
        Query("sum by (pipeline) (medallion_late_rows_total{$P})", "{{pipeline}}"),
        width=5,
    ),
    stat(
        "Unaccounted rows",
        "short",
        """Records below silver's position that are neither in silver nor in rejects. 0, or rows are lost or doubled:
        docs/runbook.md#rowsunaccounted.""",
        Query("medallion_unaccounted_rows{$P}", "{{pipeline}}"),
        width=4,
        steps=thresholds(RED, (0, GREEN), (1, RED)),
    ),
)

REJECTS = row(
    "Rejects",
    graph(
        "Rejected rows by reason",
        "rowsps",
        """Rows a second that go into rejects. A reason that was not there yesterday: ask the table,
        `medallion query "select reason, detail from PIPELINE.rejects order by seq desc limit 20"`.""",
        Query(
            "sum by (pipeline, reason) (rate(medallion_rejected_rows_total{$P}[$__rate_interval]))",
            "{{pipeline}} {{reason}}",
        ),
        stack=True,
    ),
    graph(
        "Share of records refused",
        "percentunit",
        """Refused records of all, duplicates and declared drops left out. Above the line RejectRateHigh fires:
        docs/runbook.md#rejectratehigh. Empty while no records come.""",
        Query(
            f"sum by (pipeline) (rate(medallion_rejected_rows_total{{{REFUSED}}}[$__rate_interval])) / ({RECORDS_RATE} > 0)",
            "{{pipeline}}",
        ),
        steps=thresholds(GREEN, (0.05, RED)),
    ),
    bars(
        "What became of the records",
        "short",
        """All records since the tables began: accepted ones, and the others by reason. They add up to the records.""",
        Query('medallion_table_rows{$P, table="silver"}', "{{pipeline}} accepted", instant=True),
        Query("sum by (pipeline, reason) (medallion_rejected_rows_total{$P})", "{{pipeline}} {{reason}}", instant=True),
    ),
    graph(
        "Rows of rejects",
        "short",
        """Size of the table of rejects. It keeps the bytes of each refused record, so that a corrected definition can take
        them in again: `medallion replay silver`.""",
        Query('medallion_table_rows{$P, table="rejects"}', "{{pipeline}}"),
    ),
)

RULES = row(
    "Rules",
    graph(
        "Share that fails, by rule",
        "percentunit",
        """Rows that failed a rule of silver.toml, of those it was asked about. A rule that suddenly fails: a producer has
        changed, or the rule is wrong. Empty while no records come.""",
        Query(
            """sum by (pipeline, rule) (rate(medallion_expectation_records_total{$P, result="failed"}[$__rate_interval]))
            / (sum by (pipeline, rule) (rate(medallion_expectation_records_total{$P}[$__rate_interval])) > 0)""",
            "{{pipeline}} {{rule}}",
        ),
    ),
    bars(
        "Share that failed since the tables began",
        "percentunit",
        """The twenty rules that fail most. What to do is the rule's `on_fail`: a rule that refuses good rows is corrected
        and history replayed.""",
        Query(
            """topk(20, sum by (pipeline, rule) (medallion_expectation_records_total{$P, result="failed"})
            / clamp_min(sum by (pipeline, rule) (medallion_expectation_records_total{$P}), 1))""",
            "{{pipeline}} {{rule}}",
            instant=True,
        ),
        steps=thresholds(GREEN, (0.01, ORANGE), (0.05, RED)),
    ),
    graph(
        "Failed rows by rule",
        "rowsps",
        """Rows a second that failed each rule; a row that fails two counts for both. Which they are:
        `medallion query "select rules, detail from PIPELINE.rejects where reason = 'expectation' order by seq desc limit 20"`.""",
        Query(
            """sum by (pipeline, rule) (rate(medallion_expectation_records_total{$P, result="failed"}[$__rate_interval]))""",
            "{{pipeline}} {{rule}}",
        ),
        width=24,
    ),
)

TWICE_AND_LATE = row(
    "Twice, late, and the sum",
    graph(
        "Duplicates",
        "rowsps",
        """Rows a second that came again. Harmless; a rise is a producer or a replayed topic.""",
        Query(
            """sum by (pipeline) (rate(medallion_rejected_rows_total{$P, reason="duplicate"}[$__rate_interval]))""",
            "{{pipeline}}",
        ),
        width=8,
    ),
    graph(
        "Late rows",
        "rowsps",
        """Rows a second that came after their window had closed, per gold table. A burst after an outage of a producer is
        normal. A steady rate asks for a longer `watermark` in gold.toml and a replay of gold.""",
        Query("sum by (pipeline, table) (rate(medallion_late_rows_total{$P}[$__rate_interval]))", "{{pipeline}} {{table}}"),
        width=8,
    ),
    graph(
        "Unaccounted rows",
        "short",
        """Records below silver's position minus rows of silver and rejects: 0 at all times. Anything else:
        docs/runbook.md#rowsunaccounted, and `medallion audit`, which names the rows.""",
        Query("medallion_unaccounted_rows{$P}", "{{pipeline}}"),
        width=8,
        least=None,
    ),
)

BOARD = board(
    "quality",
    "Data quality",
    "What became of the records, which rules failed, what came twice or late, and whether it all adds up.",
    [NOW, REJECTS, RULES, TWICE_AND_LATE],
)
