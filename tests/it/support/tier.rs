//! How long the suite may take: `MEDALLION_TIER`.

/// The size for the tier asked for: `quick` (also where none is), `full`, `hour` or `soak`.
pub fn pick<T: Copy>(quick: T, full: T, hour: T) -> T {
    match std::env::var("MEDALLION_TIER").as_deref() {
        Err(_) | Ok("quick") => quick,
        Ok("full") => full,
        Ok("hour" | "soak") => hour,
        Ok(other) => panic!("MEDALLION_TIER={other}: it is quick, full, hour or soak"),
    }
}
