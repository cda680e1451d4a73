//! The arguments by which any process is told its settings.

use std::path::PathBuf;

use clap::Args;

use crate::config::Flag;

/// Settings: a file and flags. The environment lies between them.
#[derive(Debug, Clone, Default, Args)]
#[allow(clippy::doc_markdown)] // these are printed as they are by --help
pub struct SettingArgs {
    /// Read settings from this YAML file.
    #[arg(long, short = 'c', value_name = "FILE", env = "TIDEMILL_CONFIG")]
    pub config: Option<PathBuf>,
    /// Set any setting; may be repeated. `tidemill config --keys` lists all.
    #[arg(long, value_name = "KEY=VALUE")]
    pub set: Vec<String>,
    /// Listen on this address [app.host].
    #[arg(long, value_name = "ADDRESS")]
    pub host: Option<String>,
    /// Listen on this port; 0 takes a free one [app.port].
    #[arg(long, short = 'p', value_name = "PORT")]
    pub port: Option<String>,
    /// Keep tasks here: sqlite:FOLDER, redis://HOST:PORT, redis+sentinel://… or redis+cluster://… [broker.url].
    #[arg(long, value_name = "URL", conflicts_with = "data_dir")]
    pub broker_url: Option<String>,
    /// Keep tasks in this folder, in the embedded broker [broker.url].
    #[arg(long, value_name = "FOLDER")]
    pub data_dir: Option<String>,
    /// Use this queue [queue.name].
    #[arg(long, short = 'q', value_name = "NAME")]
    pub queue: Option<String>,
    /// Run so many tasks at a time [executor_service.workers_limit].
    #[arg(long, visible_alias = "slots", value_name = "COUNT")]
    pub workers_limit: Option<String>,
    /// Offer rest, ws, html or html_ws [form].
    #[arg(long, value_name = "FORM")]
    pub form: Option<String>,
    /// Log this much: error, warn, info, debug, trace [log.level].
    #[arg(long, value_name = "LEVEL")]
    pub log_level: Option<String>,
    /// Log as auto, text or json [log.format].
    #[arg(long, value_name = "FORMAT")]
    pub log_format: Option<String>,
    /// Log to this file as well; empty for none [log.file].
    #[arg(long, value_name = "FILE")]
    pub log_file: Option<String>,
}

impl SettingArgs {
    /// The flags that were given. The error is a whole sentence.
    pub fn flags(&self) -> Result<Vec<Flag>, String> {
        let own = [
            ("--host", "app.host", &self.host),
            ("--port", "app.port", &self.port),
            ("--broker-url", "broker.url", &self.broker_url),
            ("--queue", "queue.name", &self.queue),
            ("--workers-limit", "executor_service.workers_limit", &self.workers_limit),
            ("--form", "form", &self.form),
            ("--log-level", "log.level", &self.log_level),
            ("--log-format", "log.format", &self.log_format),
            ("--log-file", "log.file", &self.log_file),
        ];
        let mut flags = Vec::new();
        for pair in &self.set {
            let Some((key, text)) = pair.split_once('=') else {
                return Err(format!("--set {pair}: write KEY=VALUE, such as --set app.port=9090"));
            };
            flags.push(Flag { flag: format!("--set {key}"), key: key.to_owned(), text: text.to_owned() });
        }
        for (flag, key, text) in own {
            if let Some(text) = text {
                flags.push(Flag { flag: flag.to_owned(), key: key.to_owned(), text: text.clone() });
            }
        }
        if let Some(folder) = &self.data_dir {
            let text = format!("sqlite:{folder}");
            flags.push(Flag { flag: "--data-dir".to_owned(), key: "broker.url".to_owned(), text });
        }
        Ok(flags)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_data_folder_is_a_broker_url() {
        let args = SettingArgs { data_dir: Some("/data".to_owned()), ..SettingArgs::default() };
        let flags = args.flags().unwrap();
        assert_eq!((flags[0].key.as_str(), flags[0].text.as_str()), ("broker.url", "sqlite:/data"));
    }
}
