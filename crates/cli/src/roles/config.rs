//! `tidemill config`, and how every role comes to its settings.

use crate::args::{ConfigArgs, SettingArgs};
use crate::config::{Config, Layers, Role, print as show};
use crate::exit::usage;
use crate::output::print;

/// Largest configuration file, in bytes: far beyond any sensible one.
const FILE_MAX: u64 = 1 << 20;

/// Lays the file, the environment and the flags over the defaults of `role`.
pub fn resolve(role: Role, args: &SettingArgs) -> anyhow::Result<Config> {
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
    Ok(Config::resolve(role, Layers { file, environment, flags })?)
}

/// Checks or shows the configuration.
pub fn run(args: &ConfigArgs) -> anyhow::Result<()> {
    if args.keys {
        return print(|mut out| show::keys(args.output, &mut out));
    }
    let config = resolve(args.role, &args.settings)?;
    config.settings()?;
    if args.print {
        return print(|mut out| show::in_force(&config, args.output, &mut out));
    }
    print(|out| writeln!(out, "the configuration is good; --print shows it"))
}
