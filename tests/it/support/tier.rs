//! How much a test that enumerates does, and where its dice start.

/// One of three sizes by `MEDALLION_TIER`: `quick` (the default), `full`, `hour`; `soak` counts as `hour` but for what
/// is [`whole`].
pub fn pick<T: Copy>(quick: T, full: T, hour: T) -> T {
    match std::env::var("MEDALLION_TIER").as_deref() {
        Err(_) | Ok("quick") => quick,
        Ok("full") => full,
        Ok("hour" | "soak") => hour,
        Ok(other) => panic!("MEDALLION_TIER is quick, full, hour or soak, not {other:?}"),
    }
}

/// `all` in the tier `soak`, which leaves nothing out and takes hours, else as [`pick`].
pub fn whole<T: Copy>(quick: T, full: T, hour: T, all: T) -> T {
    match std::env::var("MEDALLION_TIER").as_deref() {
        Ok("soak") => all,
        _ => pick(quick, full, hour),
    }
}

/// `MEDALLION_SEED`, or a constant.
pub fn seed() -> u64 {
    std::env::var("MEDALLION_SEED").map_or(20_261_121, |text| text.parse().expect("MEDALLION_SEED is a number"))
}
