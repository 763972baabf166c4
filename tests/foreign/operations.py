"""What others may do to a table, by the package deltalake, and what must come of it."""

from deltalake import DeltaTable, Field, write_deltalake

def compact(path):
    DeltaTable(path).optimize.compact()


def z_order(path):
    columns = [f.name for f in DeltaTable(path).schema().fields]
    partitions = DeltaTable(path).metadata().partition_columns
    DeltaTable(path).optimize.z_order([c for c in columns if c not in partitions][:1])


def vacuum_dry(path):
    DeltaTable(path).vacuum(0, dry_run=True, enforce_retention_duration=False)


def compact_and_vacuum(path):
    compact(path)
    DeltaTable(path).vacuum(0, dry_run=False, enforce_retention_duration=False)


def checkpoint(path):
    DeltaTable(path).create_checkpoint()


def clean_log(path):
    set_keeping(path, "interval 0 seconds")
    checkpoint(path)
    DeltaTable(path).cleanup_metadata()


def set_keeping(path, interval="interval 3 days"):
    DeltaTable(path).alter.set_table_properties({"delta.logRetentionDuration": interval})


def set_append_only(path):
    table = DeltaTable(path)
    now = table.metadata().configuration.get("delta.appendOnly", "false")
    table.alter.set_table_properties({"delta.appendOnly": "false" if now == "true" else "true"})


def describe(path):
    DeltaTable(path).alter.set_table_description("looked after by someone else")


def add_column(path):
    DeltaTable(path).alter.add_columns(Field("colour", "string"))


def add_constraint(path):
    first = DeltaTable(path).schema().fields[0].name
    DeltaTable(path).alter.add_constraint({"there": f"{first} is not null"})


def one_row(path):
    return DeltaTable(path).to_pyarrow_table().slice(0, 1)


def condition(path):
    """A predicate that is true of some rows and not of others."""
    table = DeltaTable(path)
    column = next(f.name for f in table.schema().fields if f.name in ("_seq", "seq", "campaign_id"))
    values = table.to_pyarrow_table(columns=[column])[column].to_pylist()
    return f"{column} = {min(values)}"


def delete(path):
    DeltaTable(path).delete(condition(path))


def update(path):
    # The value that is there already: what counts is that rows were rewritten.
    column = condition(path).split(" = ")[0]
    DeltaTable(path).update({column: column}, predicate=condition(path))


def merge(path):
    table = DeltaTable(path)
    column = condition(path).split(" = ")[0]
    # Of the same version: a row that came since would match nothing, and then nothing is refused.
    row = table.to_pyarrow_table().slice(0, 1)
    merging = table.merge(row, f"s.{column} = t.{column}", source_alias="s", target_alias="t")
    merging.when_matched_delete().execute()


def append(path):
    write_deltalake(path, one_row(path), mode="append")


def overwrite(path):
    write_deltalake(path, one_row(path), mode="overwrite")


def restore(path):
    """To half of the rows or less: positions are not restored with them."""
    table = DeltaTable(path)
    rows = table.count()
    for version in range(table.version() - 1, 0, -1):
        old = DeltaTable(path, version=version)
        if old.count() < rows:
            table.restore(version)
            return
    raise AssertionError(f"{path} has no version with fewer rows")


def restore_and_clean(path):
    """No entry of the log says any more what was done: only the counts do."""
    restore(path)
    clean_log(path)


HARMLESS = [compact, z_order, vacuum_dry, compact_and_vacuum, checkpoint, clean_log, set_keeping, describe]
HARMFUL = [
    delete,
    update,
    merge,
    append,
    overwrite,
    restore,
    restore_and_clean,
    add_column,
    add_constraint,
    set_append_only,
]
