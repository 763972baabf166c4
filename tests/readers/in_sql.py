"""The figures of a table as one SQL query, for the readers that speak SQL."""

from summary import as_value, kind


def expressions(column, what, words):
    """(figure, SQL) pairs of one column. `words` holds what the dialects call differently."""
    c = words["quote"](column)
    out = [("nulls", f"count(*) - count({c})")]
    if what in ("timestamp", "date"):
        out.append(("distinct", f"count(distinct {c})"))
    if what == "timestamp":
        c = words["micros"](c)
    if what in ("integer", "timestamp", "date", "string"):
        out += [("min", f"min({c})"), ("max", f"max({c})")]
    if what == "integer":
        out.append(("sum", f"sum({c})"))
    if what == "float":
        out.append(("sum", f"sum({c})"))
    if what in ("string", "binary"):
        out.append(("bytes", f"sum({words['bytes'](c, what)})"))
    if what == "boolean":
        out.append(("true", f"sum(cast({c} as int))"))
    if what == "array":
        out.append(("items", f"sum({words['items'](c)})"))
    return out


def summary(run, relation, types, partition_columns, words):
    """Rows, figures and partitions of `relation`. `run` takes SQL and gives a list of tuples."""
    wanted = [(column, figure, sql) for column, t in types.items() for figure, sql in expressions(column, kind(t), words)]
    row = run(f"select count(*), {', '.join(sql for _, _, sql in wanted)} from {relation}")[0]
    columns = {column: {} for column in types}
    for (column, figure, _), value in zip(wanted, row[1:]):
        columns[column][figure] = as_value(value)
    by = [words["micros"](words["quote"](c)) if types[c] == "timestamp" else words["quote"](c) for c in partition_columns]
    found = {tuple(map(as_value, r)) for r in run(f"select distinct {', '.join(by)} from {relation}")} if by else {()}
    return {"rows": row[0], "columns": columns, "partitions": found}
