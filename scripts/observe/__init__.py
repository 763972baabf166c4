"""Dashboards, alerts and metrics against each other, on a pipeline that runs: what scripts/observe.sh starts."""
