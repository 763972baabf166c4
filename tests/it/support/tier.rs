//! How much a test does: `MEDALLION_TIER` is `quick` (default), `full`, `hour` or `soak`.

/// The size of the tier in force; `soak` counts as `hour`.
pub fn pick<T: Copy>(quick: T, full: T, hour: T) -> T {
    match std::env::var("MEDALLION_TIER").as_deref() {
        Err(_) | Ok("quick") => quick,
        Ok("full") => full,
        Ok("hour" | "soak") => hour,
        Ok(other) => panic!("MEDALLION_TIER={other}: wanted is quick, full, hour or soak"),
    }
}
