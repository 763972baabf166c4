"""Layer lag & freshness: where each layer stands, how old its newest rows are, and what its steps take."""

from model import GREEN, ORANGE, RED, Query, board, graph, heatmap, row, stat, thresholds

STALENESS = Query("time() - medallion_caught_up_timestamp_seconds{$L}", "{{pipeline}} {{layer}}")
STALE = thresholds(GREEN, (60, ORANGE), (300, RED))


def quantile(share):
    """A quantile of the steps' durations. The comparison drops NaN, which is what no steps have."""
    buckets = "sum by (pipeline, layer, le) (rate(medallion_step_duration_seconds_bucket{$L}[$__rate_interval]))"
    return Query(f"histogram_quantile({share}, {buckets}) >= 0", f"{{{{pipeline}}}} {{{{layer}}}} p{share * 100:.0f}")


NOW = row(
    "Now",
    stat(
        "Layers",
        "none",
        """Whether each layer works: its turns come back and bring it on. Where one does not, it tries again, hangs or has
        failed: the log line with its name says why; docs/runbook.md#layerstalled says what to do.""",
        Query("medallion_layer_up{$L}", "{{pipeline}} {{layer}}"),
        steps=thresholds(RED, (1, GREEN)),
        texts={0: ("down", RED), 1: ("works", GREEN)},
    ),
    stat(
        "Down for",
        "s",
        """For how long each layer has not worked; 0 where it does. Anything else: docs/runbook.md#layerstalled. Nothing is
        lost meanwhile: the layer goes on where its tables end.""",
        Query(
            "(time() - medallion_layer_trouble_timestamp_seconds{$L}) * (medallion_layer_up{$L} == bool 0)",
            "{{pipeline}} {{layer}}",
        ),
        steps=thresholds(GREEN, (1, RED)),
    ),
    stat(
        "Stale by at most",
        "s",
        """Time since each layer last had everything that its upstream had. Up to the declared commit delay is normal.
        Where it grows without end, the layer is down or too slow: docs/runbook.md#layerbehind.""",
        STALENESS,
        steps=STALE,
    ),
    stat(
        "Kafka lag",
        "short",
        """Records in the topics that bronze has not committed yet; nothing here for a source of files. It may stand above
        zero while data flows. Where it grows: docs/runbook.md#layerbehind.""",
        Query("sum by (pipeline) (medallion_kafka_lag_records{$P})", "{{pipeline}}"),
        width=3,
    ),
    stat(
        "Alerts",
        "none",
        """Alerts of prometheus/rules that fire, of all pipelines. Their names and what to do are in docs/runbook.md;
        Prometheus lists them under /alerts.""",
        Query('count(ALERTS{service="medallion", alertstate="firing"}) or vector(0)', "firing"),
        width=3,
        steps=thresholds(GREEN, (1, RED)),
    ),
)

FRESHNESS = row(
    "Freshness",
    graph(
        "Staleness",
        "s",
        """Time since each layer last had everything that its upstream had; what a reader of gold waits is their sum at
        worst. A ramp that never falls is a layer that does not keep up: docs/runbook.md#layerbehind.""",
        STALENESS,
        steps=STALE,
    ),
    graph(
        "Since the last commit",
        "s",
        """Time since each layer last committed. A quiet topic commits nothing, and gold commits when windows close; so
        look at it beside the lag: old commits with lag mean that the layer hangs.""",
        Query("time() - medallion_last_commit_timestamp_seconds{$L}", "{{pipeline}} {{layer}}"),
    ),
    graph(
        "Watermark behind the clock",
        "s",
        """How far event time is behind the clock: old while a backlog is read. Where the lag is 0 and this grows, a
        partition sends nothing and is not idle yet, or producers send old events: see `idle_after` and `quiet_after` in
        bronze.toml.""",
        Query("clamp_min(time() - medallion_watermark_timestamp_seconds{$P}, 0)", "{{pipeline}}"),
    ),
    graph(
        "Closed windows behind the clock",
        "s",
        """Age of the end of the last closed window per gold table: what a dashboard on gold shows as its newest minute.
        It is the watermark's age plus the declared delay and the window's length; more than that means that gold lags.""",
        Query("clamp_min(time() - medallion_closed_timestamp_seconds{$P}, 0)", "{{pipeline}} {{table}}"),
    ),
)

LAG = row(
    "Lag",
    graph(
        "Rows waiting for a layer",
        "short",
        """Bronze rows that silver has not processed, and that gold has not folded in. It should come back to 0 again and
        again. Where it only grows, look at the steps below and at the CPU in Cost & tables.""",
        Query("clamp_min(medallion_head_seq{$L} - medallion_position_seq{$L}, 0)", "{{pipeline}} {{layer}}"),
        stack=True,
    ),
    graph(
        "Kafka lag by partition",
        "short",
        """Records per partition that bronze has not committed. One partition alone that grows: its leader does not answer
        (see the source below), or its producer sends more than its share.""",
        Query("medallion_kafka_lag_records{$P}", "{{pipeline}} {{topic}}/{{partition}}"),
    ),
    graph(
        "Produced and consumed",
        "ops",
        """Records a second that come into the topics, and that bronze commits. Consumed below produced for long: the lag
        grows, and retention may take records before they are read (docs/runbook.md#kafkadataloss).""",
        Query(
            "sum by (pipeline, topic) (rate(medallion_kafka_end_offset{$P}[$__rate_interval]))",
            "{{pipeline}} {{topic}} produced",
        ),
        Query(
            "sum by (pipeline, topic) (rate(medallion_kafka_position_offset{$P}[$__rate_interval]))",
            "{{pipeline}} {{topic}} consumed",
        ),
    ),
    graph(
        "Source",
        "none",
        """1 while the source has more and gives none of it, and how often its client was made anew for that. More than a
        passing spike: docs/runbook.md#sourcestalled.""",
        Query("medallion_source_stalled{$P}", "{{pipeline}} stalled"),
        Query("increase(medallion_source_rebuilds_total{$P}[$__rate_interval])", "{{pipeline}} clients made anew"),
    ),
)

THROUGHPUT = row(
    "Throughput",
    graph(
        "Rows read",
        "rowsps",
        """Rows a second that each layer reads from its upstream. Silver and gold follow bronze, a step later. A layer at 0
        while the one before it works is caught up, or down.""",
        Query("sum by (pipeline, layer) (rate(medallion_input_rows_total{$L}[$__rate_interval]))", "{{pipeline}} {{layer}}"),
    ),
    graph(
        "Rows written",
        "rowsps",
        """Rows a second that each layer commits: silver with its rejects, gold with its late rows, in bursts as windows
        close.""",
        Query("sum by (pipeline, layer) (rate(medallion_output_rows_total{$L}[$__rate_interval]))", "{{pipeline}} {{layer}}"),
    ),
)

STEPS = row(
    "Steps",
    graph(
        "Duration of a step",
        "s",
        """Half of the steps, and all but one in a hundred, take no longer; commit included. Empty while nothing is done.
        Long steps with little CPU wait for disk or store; the phases beside tell which.""",
        quantile(0.5),
        quantile(0.99),
    ),
    graph(
        "A step's time by phase",
        "s",
        """Mean seconds a step reads, computes and commits. Where the commit dominates, the disk or object store is slow,
        or steps are small: a larger `max_delay` in bronze.toml makes fewer. Where computing does, see the cost per row.""",
        Query(
            """sum by (pipeline, layer, phase) (rate(medallion_step_phase_duration_seconds_sum{$L}[$__rate_interval]))
            / (sum by (pipeline, layer, phase) (rate(medallion_step_phase_duration_seconds_count{$L}[$__rate_interval])) > 0)""",
            "{{pipeline}} {{layer}} {{phase}}",
        ),
        stack=True,
    ),
    heatmap(
        "Commits by duration",
        "s",
        """How many commits took how long. A second band far above the first is a store that answers slowly now and then.""",
        Query(
            """sum by (le) (increase(medallion_step_phase_duration_seconds_bucket{$L, phase="commit"}[$__rate_interval]))""",
            "{{le}}",
            as_="heatmap",
        ),
    ),
    graph(
        "Steps a second",
        "ops",
        """Commits that each layer makes. Each leaves files and a log entry: `medallion maintain` gathers them, and a larger
        `max_delay` makes fewer.""",
        Query("sum by (pipeline, layer) (rate(medallion_step_duration_seconds_count{$L}[$__rate_interval]))", "{{pipeline}} {{layer}}"),
    ),
)

TROUBLE = row(
    "Trouble",
    graph(
        "Errors by kind",
        "short",
        """Errors that layers met. `unavailable` passes by itself and is tried again. All others end the run:
        docs/runbook.md#layerfailed, for `dataloss` #kafkadataloss, for `fenced` #writerfenced.""",
        Query("sum by (pipeline, layer, kind) (increase(medallion_errors_total{$L}[$__rate_interval]))", "{{pipeline}} {{layer}} {{kind}}"),
    ),
    graph(
        "Commits tried again",
        "ops",
        """Commits a second that were put again: another commit, maintenance's, was in their place, or the store gave no
        answer. A few while `maintain` runs are normal; a steady rate is a second writer or a store in trouble.""",
        Query("sum by (pipeline, table) (rate(medallion_commit_retries_total{$P}[$__rate_interval]))", "{{pipeline}} {{table}}"),
    ),
    stat(
        "Declarations and reference data",
        "none",
        """Whether the files on disk are those in force. Changed: docs/runbook.md#replayneeded. Broken:
        docs/runbook.md#definitionbroken and #referencebroken; the last good ones stay in force meanwhile.""",
        Query("medallion_definition_changed{$P}", "{{pipeline}} declaration changed"),
        Query("medallion_definition_broken{$P}", "{{pipeline}} declaration broken"),
        Query("medallion_reference_broken{$P}", "{{pipeline}} reference data broken"),
        width=12,
        steps=thresholds(GREEN, (1, RED)),
        texts={0: ("no", GREEN), 1: ("yes", RED)},
    ),
    stat(
        "How silver's state was had",
        "none",
        """Of this process' starts: from a snapshot (fast), the previous one, or rebuilt from the tables (slow). Rebuilt at
        every start, or snapshots that fail: see that `checkpoints` in medallion.toml is on a disk that lasts and has
        room.""",
        Query("medallion_state_restores_total{$P}", "{{pipeline}} from {{how}}"),
        Query("medallion_snapshot_failures_total{$P}", "{{pipeline}} snapshots failed"),
        width=12,
    ),
)

BOARD = board(
    "layers",
    "Layer lag & freshness",
    "Where each layer stands, how old its newest rows are, and what its steps take.",
    [NOW, FRESHNESS, LAG, THROUGHPUT, STEPS, TROUBLE],
    with_layer=True,
)
