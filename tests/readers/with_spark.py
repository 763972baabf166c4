"""Spark with Delta on the Java machine, its session in a time zone that is not UTC."""

import pathlib
import tempfile

from pyspark.sql import SparkSession
from pyspark.sql import types as st

import in_sql

NAMES = {
    st.ByteType: "byte",
    st.ShortType: "short",
    st.IntegerType: "integer",
    st.LongType: "long",
    st.FloatType: "float",
    st.DoubleType: "double",
    st.BooleanType: "boolean",
    st.StringType: "string",
    st.BinaryType: "binary",
    st.DateType: "date",
    st.TimestampType: "timestamp",
    st.TimestampNTZType: "timestamp_ntz",
}
WORDS = {
    "quote": lambda c: f"`{c}`",
    "micros": lambda c: f"unix_micros({c})",
    "bytes": lambda c, what: f"octet_length({c})",
    "items": lambda c: f"size({c})",
}


def type_name(t):
    if isinstance(t, st.ArrayType):
        return f"array<{type_name(t.elementType)}>"
    if isinstance(t, st.StructType):
        return "struct<" + ",".join(f"{f.name}:{type_name(f.dataType)}" for f in t.fields) + ">"
    return NAMES.get(type(t), t.simpleString())


class Reader:
    name = "spark"

    def __init__(self, options):
        jars = sorted(str(p) for p in pathlib.Path(options.jars).glob("*.jar"))
        if not jars:
            raise SystemExit(f"no jar in {options.jars}: run scripts/readers.sh, which fetches Delta for Spark")
        self.session = (
            SparkSession.builder.master("local[2]")
            .appName("medallion-readers")
            .config("spark.jars", ",".join(jars))
            .config("spark.sql.extensions", "io.delta.sql.DeltaSparkSessionExtension")
            .config("spark.sql.catalog.spark_catalog", "org.apache.spark.sql.delta.catalog.DeltaCatalog")
            .config("spark.sql.session.timeZone", options.zone)
            .config("spark.databricks.delta.snapshotPartitions", "2")
            .config("spark.sql.shuffle.partitions", "2")
            # Spark makes this directory wherever it is started, though nothing is stored in it.
            .config("spark.sql.warehouse.dir", tempfile.mkdtemp(prefix="medallion-spark-"))
            .config("spark.driver.memory", "1g")
            .config("spark.driver.host", "127.0.0.1")
            .config("spark.driver.bindAddress", "127.0.0.1")
            .config("spark.ui.enabled", "false")
            .config("spark.ui.showConsoleProgress", "false")
            .getOrCreate()
        )
        self.session.sparkContext.setLogLevel("ERROR")

    def run(self, sql):
        return [tuple(row) for row in self.session.sql(sql).collect()]

    def read(self, location, types, partition_columns):
        relation = f"delta.`{location}`"
        found = in_sql.summary(self.run, relation, types, partition_columns, WORDS)
        schema = self.session.table(relation).schema
        found["types"] = {f.name: type_name(f.dataType) for f in schema.fields}
        found["column_comments"] = {f.name: f.metadata.get("comment") for f in schema.fields}
        detail = self.session.sql(f"describe detail {relation}").collect()[0]
        found["comment"] = detail["description"] or None
        return found

    def close(self):
        self.session.stop()
