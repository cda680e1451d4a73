//! `tidemill config`.

use tidemill_process::resolve;

use crate::args::ConfigArgs;
use crate::config::print as show;
use crate::output::print;

/// Checks or shows the configuration.
pub fn run(args: &ConfigArgs) -> anyhow::Result<()> {
    if args.keys {
        return print(|mut out| show::keys(args.output, &mut out));
    }
    let config = resolve(args.role, Vec::new(), &args.settings)?;
    config.settings()?;
    if args.print {
        return print(|mut out| show::in_force(&config, args.output, &mut out));
    }
    print(|out| writeln!(out, "the configuration is good; --print shows it"))
}
