//! How much a test does: `MEDALLION_TIER` = `quick` (the default), `full`, `hour` or `soak`.

/// The size of a test in the tier that was asked for; `soak` is as large as `hour`.
pub fn pick<T: Copy>(quick: T, full: T, hour: T) -> T {
    match std::env::var("MEDALLION_TIER").as_deref() {
        Err(_) | Ok("quick") => quick,
        Ok("full") => full,
        Ok("hour" | "soak") => hour,
        Ok(other) => panic!("MEDALLION_TIER is quick, full, hour or soak, not {other:?}"),
    }
}
