//! The configuration: defaults, then what a program of one's own presets, then a YAML file, then the environment, then
//! flags; each later layer wins.
//!
//! One [`table`] holds every setting. A layer is read by [`file`], [`environment`] or from flags, and every value
//! remembers where it came from, so that it can be told.

pub mod environment;
pub mod file;
pub mod handlers;
pub mod settings;
pub mod table;
pub mod value;

use std::fmt;

use settings::Settings;
use table::{SETTINGS, find};
use value::Value;

/// Which process is configured. Some defaults depend on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Role {
    /// API, executor and embedded broker in one.
    Standalone,
    /// HTTP and WebSocket.
    Api,
    /// The executor.
    Worker,
    /// Keeps the workers of `TaskQueue`s on Kubernetes.
    Operator,
}

impl Role {
    /// The name of the command.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Standalone => "standalone",
            Self::Api => "api",
            Self::Worker => "worker",
            Self::Operator => "operator",
        }
    }
}

/// Where a value came from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    /// The table.
    Default,
    /// The program itself.
    Preset,
    /// A file and line.
    File(String, usize),
    /// A variable.
    Environment(String),
    /// A flag.
    Flag(String),
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => f.write_str("default"),
            Self::Preset => f.write_str("program"),
            Self::File(file, line) => write!(f, "{file}:{line}"),
            Self::Environment(name) => write!(f, "env {name}"),
            Self::Flag(flag) => f.write_str(flag),
        }
    }
}

/// A value given by a flag.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Flag {
    /// The flag as it was written, for people: `--port`.
    pub flag: String,
    /// The key that it sets.
    pub key: String,
    /// The text.
    pub text: String,
}

/// A value that a program sets in its code, for whoever runs it to replace.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Preset {
    /// The key that it sets.
    pub key: &'static str,
    /// The text.
    pub text: String,
}

/// The layers over the defaults, not yet read.
#[derive(Debug, Default)]
pub struct Layers {
    /// What the program presets, in order.
    pub presets: Vec<Preset>,
    /// The name and text of a file.
    pub file: Option<(String, String)>,
    /// The environment.
    pub environment: Vec<(String, String)>,
    /// Flags, in order.
    pub flags: Vec<Flag>,
}

/// What is wrong with the configuration: whole sentences.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}", .0.join("\n"))]
pub struct Faults(pub Vec<String>);

/// The configuration in force.
#[derive(Debug)]
pub struct Config {
    /// One for each setting of the table, in its order.
    entries: Vec<(Value, Origin)>,
}

impl Config {
    /// Lays the layers over the defaults of `role`. All faults of all layers are told at once.
    pub fn resolve(role: Role, layers: Layers) -> Result<Self, Faults> {
        let mut faults = Vec::new();
        let mut entries = Vec::with_capacity(SETTINGS.len());
        for setting in SETTINGS {
            match setting.parse(default(role, setting.key, setting.default)) {
                Ok(value) => entries.push((value, Origin::Default)),
                Err(reason) => faults.push(format!("the default of {} {reason}", setting.key)),
            }
        }
        let mut set = Vec::new();
        for preset in layers.presets {
            match find(preset.key) {
                Some(setting) => match SETTINGS[setting].parse(&preset.text) {
                    Ok(value) => set.push((setting, value, Origin::Preset)),
                    Err(reason) => faults.push(format!("{} in the program {reason}", preset.key)),
                },
                None => faults.push(format!("the program: {}", file::unknown(preset.key))),
            }
        }
        if let Some((name, text)) = &layers.file {
            match file::read(name, text) {
                Ok(found) => {
                    set.extend(found.into_iter().map(|f| (f.setting, f.value, Origin::File(name.clone(), f.line))));
                }
                Err(more) => faults.extend(more),
            }
        }
        match environment::read(layers.environment.into_iter()) {
            Ok(found) => set.extend(found.into_iter().map(|f| (f.setting, f.value, Origin::Environment(f.name)))),
            Err(more) => faults.extend(more),
        }
        for flag in layers.flags {
            match find(&flag.key) {
                Some(setting) => match SETTINGS[setting].parse(&flag.text) {
                    Ok(value) => set.push((setting, value, Origin::Flag(flag.flag))),
                    Err(reason) => faults.push(format!("{} {reason}", flag.flag)),
                },
                None => faults.push(format!("{}: {}", flag.flag, file::unknown(&flag.key))),
            }
        }
        if !faults.is_empty() {
            return Err(Faults(faults));
        }
        for (setting, value, origin) in set {
            entries[setting] = (value, origin);
        }
        Ok(Self { entries })
    }

    /// The typed settings.
    pub fn settings(&self) -> Result<Settings, Faults> {
        let mut root = serde_json::Map::new();
        for (setting, (value, _)) in SETTINGS.iter().zip(&self.entries) {
            insert(&mut root, setting.key, value.json());
        }
        serde_json::from_value(root.into()).map_err(|error| Faults(vec![format!("the configuration: {error}")]))
    }

    /// What was set of a queue's settings rather than left at its default: the members of a `QueueSettings`, as JSON.
    pub fn chosen_queue_settings(&self) -> serde_json::Map<String, serde_json::Value> {
        let mut chosen = serde_json::Map::new();
        for (setting, value, origin) in self.entries() {
            if let (Some(key), true) = (setting.key.strip_prefix("queue.settings."), *origin != Origin::Default) {
                insert(&mut chosen, key, value.json());
            }
        }
        chosen
    }

    /// Each setting with its value and origin.
    pub fn entries(&self) -> impl Iterator<Item = (&'static table::Setting, &Value, &Origin)> {
        SETTINGS.iter().zip(&self.entries).map(|(setting, (value, origin))| (setting, value, origin))
    }
}

fn default(role: Role, key: &str, usual: &'static str) -> &'static str {
    match (role, key) {
        // In a cluster, whatever collects stderr keeps the logs.
        (Role::Api | Role::Worker | Role::Operator, "log.file") => "",
        _ => usual,
    }
}

fn insert(map: &mut serde_json::Map<String, serde_json::Value>, key: &str, value: serde_json::Value) {
    match key.split_once('.') {
        None => {
            map.insert(key.to_owned(), value);
        }
        Some((section, rest)) => {
            let inner = map.entry(section).or_insert_with(|| serde_json::Map::new().into());
            if let Some(inner) = inner.as_object_mut() {
                insert(inner, rest, value);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use tidemill_core::QueueSettings;

    use super::*;

    fn file(text: &str) -> Layers {
        Layers { file: Some(("c.yaml".to_owned(), text.to_owned())), ..Layers::default() }
    }

    fn in_force(config: &Config, key: &str) -> (String, String) {
        let (setting, value, origin) = config.entries().find(|(setting, ..)| setting.key == key).unwrap();
        (setting.shown(value), origin.to_string())
    }

    #[test]
    fn the_defaults_are_those_that_users_know_and_fill_every_typed_field() {
        let settings = Config::resolve(Role::Standalone, Layers::default()).unwrap().settings().unwrap();
        assert_eq!(settings.app.host, "0.0.0.0");
        assert_eq!(settings.app.port, 8080);
        assert_eq!(settings.app.static_endpoint, "/static");
        assert_eq!(settings.app.public_folder, "./public");
        assert_eq!(settings.app.views_folder, "./views");
        assert_eq!(settings.app.templates_ext, ".html");
        assert_eq!(settings.app.fiber_shutdown_timeout_ms, 1000);
        assert_eq!(settings.app.executor_shutdown_timeout_ms, 5000);
        assert_eq!(settings.executor_service.workers_limit, 10);
        assert_eq!(settings.broker.url, "sqlite:./tidemill-data");
        assert_eq!(settings.log.file, "logs.txt");
        assert_eq!(settings.queue.settings, QueueSettings::default());
        assert_eq!(settings.access(), tidemill_broker::Access::new("sqlite:./tidemill-data"));
        assert_eq!(settings.operator.lease_name, "tidemill-operator");
        assert_eq!(settings.operator.offered_namespaces, Vec::<String>::new());
        for role in [Role::Api, Role::Worker, Role::Operator] {
            let settings = Config::resolve(role, Layers::default()).unwrap().settings().unwrap();
            assert_eq!(settings.log.file, "", "{}", role.as_str());
        }
    }

    #[test]
    fn every_key_of_the_original_is_taken_from_a_file_as_it_is() {
        let text = "app:\n  host: 127.0.0.1\n  port: 9090\n  static_endpoint: /s\n  public_folder: ./p\n  \
                    views_folder: ./v\n  templates_ext: .tmpl\n  fiber_shutdown_timeout_ms: 1\n  \
                    executor_shutdown_timeout_ms: 2\nexecutor_service:\n  workers_limit: 3\n";
        let config = Config::resolve(Role::Standalone, file(text)).unwrap();
        let expected = [
            ("app.host", "127.0.0.1", 2),
            ("app.port", "9090", 3),
            ("app.static_endpoint", "/s", 4),
            ("app.public_folder", "./p", 5),
            ("app.views_folder", "./v", 6),
            ("app.templates_ext", ".tmpl", 7),
            ("app.fiber_shutdown_timeout_ms", "1", 8),
            ("app.executor_shutdown_timeout_ms", "2", 9),
            ("executor_service.workers_limit", "3", 11),
        ];
        for (key, value, line) in expected {
            assert_eq!(in_force(&config, key), (value.to_owned(), format!("c.yaml:{line}")), "{key}");
        }
    }

    #[test]
    fn the_files_in_config_are_taken_and_change_no_default() {
        let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../config");
        let defaults = Config::resolve(Role::Standalone, Layers::default()).unwrap();
        for form in ["rest", "ws", "html", "html_ws"] {
            let name = format!("app_{form}.yaml");
            let text = std::fs::read_to_string(folder.join(&name)).unwrap();
            let config = Config::resolve(Role::Standalone, file(&text)).unwrap();
            for (setting, (value, _)) in SETTINGS.iter().zip(&config.entries).filter(|(s, _)| s.key != "form") {
                assert_eq!(value, &defaults.entries[find(setting.key).unwrap()].0, "{name} {}", setting.key);
            }
        }
    }

    #[test]
    fn a_flag_wins_over_the_environment_which_wins_over_the_file() {
        let environment = || vec![("TIDEMILL_APP__PORT".to_owned(), "2".to_owned())];
        let flag = || Flag { flag: "--port".to_owned(), key: "app.port".to_owned(), text: "3".to_owned() };
        let mut layers = file("app:\n  port: 1\n");
        layers.environment = environment();
        layers.flags = vec![flag()];
        let config = Config::resolve(Role::Standalone, layers).unwrap();
        assert_eq!(in_force(&config, "app.port"), ("3".to_owned(), "--port".to_owned()));

        let layers = Layers { environment: environment(), ..file("app:\n  port: 1\n") };
        let config = Config::resolve(Role::Standalone, layers).unwrap();
        assert_eq!(in_force(&config, "app.port"), ("2".to_owned(), "env TIDEMILL_APP__PORT".to_owned()));
    }

    #[test]
    fn what_a_program_presets_wins_over_the_default_and_over_nothing_else() {
        let preset = |text: &str| vec![Preset { key: "app.port", text: text.to_owned() }];
        let config = Config::resolve(Role::Worker, Layers { presets: preset("7"), ..Layers::default() }).unwrap();
        assert_eq!(in_force(&config, "app.port"), ("7".to_owned(), "program".to_owned()));
        let layers = Layers { presets: preset("7"), ..file("app:\n  port: 1\n") };
        let config = Config::resolve(Role::Worker, layers).unwrap();
        assert_eq!(in_force(&config, "app.port"), ("1".to_owned(), "c.yaml:2".to_owned()));
        let Faults(faults) =
            Config::resolve(Role::Worker, Layers { presets: preset("x"), ..Layers::default() }).unwrap_err();
        assert_eq!(faults, ["app.port in the program must be a whole number from 0 to 65535, not \"x\""]);
    }

    #[test]
    fn faults_of_all_layers_are_told_at_once_in_one_sentence_each() {
        let layers = Layers {
            environment: vec![("TIDEMILL_APP__PROT".to_owned(), "1".to_owned())],
            flags: vec![Flag { flag: "--set".to_owned(), key: "log.levle".to_owned(), text: "x".to_owned() }],
            ..file("app:\n  prot: 1\n")
        };
        let Faults(faults) = Config::resolve(Role::Api, layers).unwrap_err();
        assert_eq!(faults.len(), 3, "{faults:?}");
        assert_eq!(faults[2], "--set: there is no setting log.levle; did you mean log.level?");
    }

    #[test]
    fn only_what_was_set_of_a_queue_is_chosen() {
        let text = "queue:\n  settings:\n    retries: 0\n    backoff:\n      max_ms: 5\n";
        let chosen = Config::resolve(Role::Api, file(text)).unwrap().chosen_queue_settings();
        let expected = serde_json::json!({ "retries": 0, "backoff": { "max_ms": 5 } });
        assert_eq!(serde_json::Value::from(chosen), expected);
    }

    #[test]
    fn what_belongs_to_the_broker_is_handed_to_it() {
        let layers = Layers {
            environment: vec![
                ("TIDEMILL_BROKER__USERNAME".to_owned(), "mill".to_owned()),
                ("TIDEMILL_BROKER__PASSWORD".to_owned(), "grist".to_owned()),
                ("TIDEMILL_BROKER__CA_FILE".to_owned(), "/ca.pem".to_owned()),
                ("TIDEMILL_DURABILITY__REPLICAS".to_owned(), "2".to_owned()),
                ("TIDEMILL_DURABILITY__TIMEOUT_MS".to_owned(), "300".to_owned()),
            ],
            ..file("broker:\n  url: rediss://host\n")
        };
        let settings = Config::resolve(Role::Operator, layers).unwrap().settings().unwrap();
        let expected = tidemill_broker::Access {
            url: "rediss://host".to_owned(),
            username: Some("mill".to_owned()),
            password: Some("grist".to_owned()),
            authorities: Some(tidemill_broker::Authorities::File("/ca.pem".into())),
            durability: tidemill_broker::Durability { replicas: 2, timeout: std::time::Duration::from_millis(300) },
        };
        assert_eq!(settings.access(), expected);
        assert!(!format!("{settings:?}").contains("grist"));
    }

    #[test]
    fn secrets_are_masked_wherever_a_value_is_shown() {
        let layers =
            file("auth:\n  tokens: [hunter2, hunter3]\nbroker:\n  url: redis://u:hunter2@host\n  password: hunter2\n");
        let config = Config::resolve(Role::Api, layers).unwrap();
        assert_eq!(in_force(&config, "broker.password").0, "***");
        assert_eq!(in_force(&config, "auth.tokens").0, "*** (2)");
        assert_eq!(in_force(&config, "broker.url").0, "redis://u:***@host");
    }
}
