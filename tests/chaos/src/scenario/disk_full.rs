//! x
pub(super) fn run() -> anyhow::Result<bool> {
    Ok(true)
}
