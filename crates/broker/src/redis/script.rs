//! The Lua scripts: one file each, put together with the pieces that its head names.
//!
//! A script begins with comment lines that are its contract and its recipe: `KEYS` names the keys in order (each becomes
//! a local variable of that name), `LIBS` the pieces of `lua/lib` put before it, `FLAGS` those of its shebang; `ARGV`
//! and `REPLY` are for readers.

use std::sync::LazyLock;

/// A script as Redis gets it.
#[derive(Debug)]
pub(super) struct Script {
    /// Its name, for errors.
    pub name: &'static str,
    /// The keys that it declares, by their short names, in order.
    pub keys: Vec<&'static str>,
    /// Whether a caller is told that what it did is done, and may ask that replicas have it first.
    pub is_promise: bool,
    real: Source,
    #[cfg(feature = "conformance")]
    skewed: Source,
}

/// The text of a script.
#[derive(Debug)]
pub(super) struct Source {
    /// The whole text.
    pub text: String,
    /// The SHA-1 of the text, by which Redis knows it.
    pub sha: String,
}

/// Where a script takes the time from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Clock {
    /// From Redis.
    Real,
    /// From Redis, moved on by what a test says.
    #[cfg(feature = "conformance")]
    Skewed,
}

/// A part of a script that is replaced, to prove that a test would notice.
#[cfg(feature = "conformance")]
#[derive(Debug, Clone, Copy)]
pub struct Mutation {
    /// What it says.
    pub from: &'static str,
    /// What it is made to say.
    pub to: &'static str,
}

#[cfg(feature = "conformance")]
impl Mutation {
    /// Whether some script says that.
    pub fn applies(&self) -> bool {
        all().iter().any(|script| script.skewed.text.contains(self.from))
    }

    /// The source as it is then.
    pub(super) fn of(&self, source: &Source) -> Source {
        let text = source.text.replace(self.from, self.to);
        let sha = ::redis::Script::new(&text).get_hash().to_owned();
        Source { text, sha }
    }
}

macro_rules! scripts {
    ($($constant:ident = $name:literal),* $(,)?) => {
        $(
            pub(super) static $constant: LazyLock<Script> =
                LazyLock::new(|| Script::assemble($name, include_str!(concat!("lua/", $name, ".lua"))));
        )*
        #[cfg(any(test, feature = "conformance"))]
        fn all() -> Vec<&'static Script> {
            vec![$(&*$constant),*]
        }
    };
}

scripts! {
    CANCEL = "cancel",
    CONFIGURE = "configure",
    DELETE = "delete",
    DISOWN = "disown",
    DROP_QUEUE = "drop_queue",
    ENQUEUE = "enqueue",
    EXCHANGE = "exchange",
    GET = "get",
    HEARTBEAT = "heartbeat",
    LIST = "list",
    MAINTAIN = "maintain",
    NEXT_DUE = "next_due",
    OWN = "own",
    OWNER = "owner",
    PAUSE = "pause",
    PURGE = "purge",
    REGISTER = "register",
    RETIRE = "retire",
    RETRY = "retry",
    STATS = "stats",
    WORKERS = "workers",
}

/// The scripts whose writes somebody relies on once they were acknowledged. What workers and maintenance write is not among
/// them: where a failover loses it, the task runs again.
const PROMISES: [&str; 10] =
    ["cancel", "configure", "delete", "disown", "drop_queue", "enqueue", "own", "pause", "purge", "retry"];

const LIBRARY: [(&str, &str); 10] = [
    ("sums", include_str!("lua/lib/sums.lua")),
    ("clock", include_str!("lua/lib/clock.lua")),
    ("owner", include_str!("lua/lib/owner.lua")),
    ("record", include_str!("lua/lib/record.lua")),
    ("bulk", include_str!("lua/lib/bulk.lua")),
    ("events", include_str!("lua/lib/events.lua")),
    ("line", include_str!("lua/lib/line.lua")),
    ("ends", include_str!("lua/lib/ends.lua")),
    ("due", include_str!("lua/lib/due.lua")),
    ("claims", include_str!("lua/lib/claims.lua")),
];

impl Script {
    /// The script with its pieces.
    pub(super) fn source(&self, clock: Clock) -> &Source {
        match clock {
            Clock::Real => &self.real,
            #[cfg(feature = "conformance")]
            Clock::Skewed => &self.skewed,
        }
    }

    fn assemble(name: &'static str, body: &'static str) -> Self {
        let keys: Vec<&str> = head(body, "KEYS").collect();
        let real = Source::assemble(&keys, body, |_, source| source);
        #[cfg(feature = "conformance")]
        let skewed = Source::assemble(&keys, body, |library, source| {
            if library == "clock" { include_str!("lua/lib/clock_testing.lua") } else { source }
        });
        Self {
            name,
            keys,
            is_promise: PROMISES.contains(&name),
            real,
            #[cfg(feature = "conformance")]
            skewed,
        }
    }
}

impl Source {
    fn assemble(keys: &[&str], body: &str, piece: impl Fn(&str, &'static str) -> &'static str) -> Self {
        let flags: Vec<&str> = head(body, "FLAGS").collect();
        let libraries: Vec<&str> = head(body, "LIBS").collect();
        let mut text = format!("#!lua flags={}\n", flags.join(","));
        text.extend(keys.iter().zip(1..).map(|(key, place)| format!("local {key} = KEYS[{place}]\n")));
        for (library, source) in LIBRARY {
            if libraries.contains(&library) {
                text += piece(library, source);
            }
        }
        text += body;
        let sha = ::redis::Script::new(&text).get_hash().to_owned();
        Self { text, sha }
    }
}

/// The words after a label in the head of a script.
fn head<'a>(body: &'a str, label: &str) -> impl Iterator<Item = &'a str> {
    body.lines()
        .find_map(|line| line.strip_prefix("-- ")?.strip_prefix(label))
        .map(str::split_whitespace)
        .into_iter()
        .flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_script_states_its_keys_and_its_reply() {
        for script in all() {
            assert!(!script.keys.is_empty(), "{} declares no keys", script.name);
            assert!(script.real.text.contains("\n-- REPLY "), "{} does not say what it replies", script.name);
        }
    }

    #[test]
    fn every_promise_is_a_script_that_writes() {
        for name in PROMISES {
            let script = all().into_iter().find(|script| script.name == name).unwrap();
            assert!(!script.real.text.starts_with("#!lua flags=no-writes"), "{name}");
        }
    }

    #[test]
    fn every_library_that_a_script_names_exists() {
        for script in all() {
            let named = script
                .real
                .text
                .lines()
                .filter_map(|line| line.strip_prefix("-- LIBS "))
                .flat_map(str::split_whitespace);
            for library in named.filter(|word| *word != "-") {
                assert!(LIBRARY.iter().any(|(known, _)| *known == library), "{}: {library}", script.name);
            }
        }
    }
}
