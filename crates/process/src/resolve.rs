//! How every role comes to its settings.

use crate::args::SettingArgs;
use crate::config::{Config, Layers, Preset, Role};
use crate::exit::usage;

/// Largest configuration file, in bytes: far beyond any sensible one.
const FILE_MAX: u64 = 1 << 20;

/// Lays what the program itself sets, the file, the environment and the flags over the defaults of `role`.
pub fn resolve(role: Role, presets: Vec<Preset>, args: &SettingArgs) -> anyhow::Result<Config> {
    let file = match &args.config {
        None => None,
        Some(path) => {
            let name = path.display().to_string();
            let cannot = |reason: String| usage(format!("the configuration file {name} cannot be read: {reason}"));
            let size = std::fs::metadata(path).map_err(|error| cannot(error.to_string()))?.len();
            if size > FILE_MAX {
                return Err(cannot(format!("it has {size} bytes; at most {FILE_MAX} are allowed")));
            }
            let text = std::fs::read_to_string(path).map_err(|error| cannot(error.to_string()))?;
            Some((name, text))
        }
    };
    let environment = std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.to_string_lossy().into_owned())))
        .collect();
    let flags = args.flags().map_err(usage)?;
    Ok(Config::resolve(role, Layers { presets, file, environment, flags })?)
}
