//! How much a test that enumerates does.

/// One of three sizes by `MEDALLION_TIER`: `quick` (the default), `full`, `hour`; `soak` counts as `hour`.
pub fn pick<T: Copy>(quick: T, full: T, hour: T) -> T {
    match std::env::var("MEDALLION_TIER").as_deref() {
        Err(_) | Ok("quick") => quick,
        Ok("full") => full,
        Ok("hour" | "soak") => hour,
        Ok(other) => panic!("MEDALLION_TIER is quick, full, hour or soak, not {other:?}"),
    }
}
