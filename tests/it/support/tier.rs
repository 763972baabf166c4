//! How much the fault suite does: `MEDALLION_TIER`.

/// The size for the tier in force: `quick` (the default), `full`, `hour`, or `soak`, which counts as an hour.
pub fn pick<T: Copy>(quick: T, full: T, hour: T) -> T {
    match std::env::var("MEDALLION_TIER").as_deref() {
        Err(_) | Ok("quick") => quick,
        Ok("full") => full,
        Ok("hour" | "soak") => hour,
        Ok(other) => panic!("MEDALLION_TIER is {other:?}, not quick, full, hour or soak"),
    }
}
