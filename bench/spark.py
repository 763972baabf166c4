"""The Spark peer: three Structured Streaming queries with Delta between them, each until it has seen everything there is.

Tuned for two cores and this job; every setting is here. Where Spark's usual form differs from the others' work, it does
less, not more: it keeps no table of rejects, and gold's last minutes stay open, because its input cannot be ended.
"""

import argparse
import pathlib
import tempfile

from pyspark.sql import SparkSession
from pyspark.sql import functions as f

CONF = {
    "spark.sql.extensions": "io.delta.sql.DeltaSparkSessionExtension",
    "spark.sql.catalog.spark_catalog": "org.apache.spark.sql.delta.catalog.DeltaCatalog",
    "spark.sql.session.timeZone": "UTC",
    "spark.sql.shuffle.partitions": "2",
    "spark.databricks.delta.snapshotPartitions": "2",
    "spark.databricks.delta.properties.defaults.checkpointInterval": "100",
    # Keys that never end do not belong on the heap.
    "spark.sql.streaming.stateStore.providerClass":
        "org.apache.spark.sql.execution.streaming.state.RocksDBStateStoreProvider",
    "spark.sql.streaming.stateStore.rocksdb.changelogCheckpointing.enabled": "true",
    "spark.sql.streaming.metricsEnabled": "false",
    "spark.sql.streaming.numRecentProgressUpdates": "1",
    "spark.sql.parquet.compression.codec": "zstd",
    "spark.hadoop.parquet.compression.codec.zstd.level": "1",
    "spark.driver.memory": "3g",
    "spark.driver.extraJavaOptions": "-XX:+UseParallelGC",
    "spark.driver.host": "127.0.0.1",
    "spark.driver.bindAddress": "127.0.0.1",
    "spark.ui.enabled": "false",
    "spark.ui.showConsoleProgress": "false",
}  # fmt: skip
# A micro-batch of bronze is as large as a commit of the others.
ROWS_PER_BATCH = 500_000
VIEW = "view_id string, start_timestamp string, end_timestamp string, banner_id bigint, campaign_id int, _corrupt string"


def session(jars):
    builder = SparkSession.builder.master("local[2]").appName("medallion-bench")
    builder = builder.config("spark.jars", ",".join(sorted(str(path) for path in pathlib.Path(jars).glob("*.jar"))))
    builder = builder.config("spark.sql.warehouse.dir", tempfile.mkdtemp(prefix="medallion-bench-spark-"))
    for name, value in CONF.items():
        builder = builder.config(name, value)
    spark = builder.getOrCreate()
    spark.sparkContext.setLogLevel("ERROR")
    return spark


class Pipeline:
    def __init__(self, spark, options):
        self.spark = spark
        self.lake = options.lake
        self.options = options

    def path(self, table):
        return f"{self.lake}/{table}"

    def run(self, rows, table, partition_by=()):
        """Writes the stream to its table and comes back when there is no more input."""
        writer = rows.writeStream.format("delta").outputMode("append")
        writer = writer.option("checkpointLocation", f"{self.lake}/checkpoints/{table}")
        if partition_by:
            writer = writer.partitionBy(*partition_by)
        writer.trigger(availableNow=True).start(self.path(table)).awaitTermination()

    def read(self, table):
        return self.spark.readStream.format("delta").load(self.path(table))

    def bronze(self):
        rows = (
            self.spark.readStream.format("kafka")
            .option("kafka.bootstrap.servers", self.options.brokers)
            .option("subscribe", self.options.topic)
            .option("startingOffsets", "earliest")
            .option("maxOffsetsPerTrigger", ROWS_PER_BATCH)
            .load()
        )
        columns = ["topic", "partition", "offset", "timestamp", "key", "value"]
        self.run(rows.select(*columns, f.current_date().alias("ingest_date")), "bronze")

    def silver(self):
        campaigns = self.spark.read.csv(self.options.campaigns, header=True, schema="network_id int, campaign_id int, name string")
        options = {"mode": "PERMISSIVE", "columnNameOfCorruptRecord": "_corrupt"}
        start, end = f.col("start_timestamp"), f.col("end_timestamp")
        lineage = [f.col(name).alias(f"_{name}") for name in ("partition", "offset", "timestamp")]
        views = (
            self.read("bronze")
            .select(f.from_json(f.col("value").cast("string"), VIEW, options).alias("view"), *lineage)
            .select("view.*", *lineage_names())
            .where("_corrupt is null and length(view_id) > 0 and banner_id >= 1 and campaign_id >= 1")
            .withColumn("start_timestamp", f.try_to_timestamp("start_timestamp"))
            .withColumn("end_timestamp", f.try_to_timestamp("end_timestamp"))
            .where(end >= start)
            .where(end <= start + f.expr("interval 1 day"))
            .where(end <= f.col("_timestamp") + f.expr("interval 1 hour"))
            .join(f.broadcast(campaigns.drop("name")), "campaign_id")
            # Whenever it is sent again: the keys are kept forever, as the others do.
            .dropDuplicates(["view_id"])
        )
        self.run(views.drop("_corrupt").withColumn("event_date", f.to_date(end)), "silver", ["event_date"])

    def gold(self):
        micros = f.unix_micros("end_timestamp") - f.unix_micros("start_timestamp")
        minutes = (
            self.read("silver")
            .withWatermark("end_timestamp", "10 seconds")
            .groupBy(f.window("end_timestamp", "1 minute"), "campaign_id", "network_id")
            .agg(f.sum(micros).alias("us"), f.count("*").alias("n"))
            .select(
                "campaign_id",
                "network_id",
                f.col("window.start").alias("minute_timestamp"),
                (f.col("us").cast("double") / (1e6 * f.col("n"))).alias("avg_duration"),
                f.col("n").cast("int").alias("total_count"),
            )
            # A file per directory and task, not one per task and directory.
            .repartition(2, "network_id", "minute_timestamp")
        )
        self.run(minutes, "gold", ["network_id", "minute_timestamp"])


def lineage_names():
    return ["_partition", "_offset", "_timestamp"]


def main():
    parser = argparse.ArgumentParser()
    for name in ("--brokers", "--topic", "--campaigns", "--lake", "--jars"):
        parser.add_argument(name, required=True)
    options = parser.parse_args()
    spark = session(options.jars)
    pipeline = Pipeline(spark, options)
    pipeline.bronze()
    pipeline.silver()
    pipeline.gold()
    spark.stop()


if __name__ == "__main__":
    main()
