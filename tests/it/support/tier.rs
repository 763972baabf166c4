//! How much a long test does, from the environment: `MEDALLION_TIER` = `quick` (default), `full`, `hour` or `soak`.

/// The size for the tier that is asked for; a soak does what an hour does.
pub fn pick<T: Copy>(quick: T, full: T, hour: T) -> T {
    match std::env::var("MEDALLION_TIER").as_deref() {
        Err(_) | Ok("quick") => quick,
        Ok("full") => full,
        Ok("hour" | "soak") => hour,
        Ok(other) => panic!("MEDALLION_TIER is {other:?}; it is quick, full, hour or soak"),
    }
}
