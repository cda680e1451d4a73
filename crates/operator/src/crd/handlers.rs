//! Types of one's own.

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A task type that is served by a command in the workers' image, or by a URL.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[x_kube(
    validation = Rule::new("has(self.command) != has(self.url)")
        .message("handlers: a type needs either command or url, and not both"),
    validation = Rule::new("!has(self.url) || !(has(self.env) || has(self.passEnv) || has(self.directory))")
        .message("handlers: env, passEnv and directory belong to a command, and not to a url"),
    validation = Rule::new("(!has(self.env) || !self.env.exists(v, v.name.startsWith('TIDEMILL_') || v.name == 'TRACEPARENT')) && (!has(self.passEnv) || !self.passEnv.exists(n, n.startsWith('TIDEMILL_') || n == 'TRACEPARENT'))")
        .message("handlers: TRACEPARENT and variables that begin with TIDEMILL_ are the worker's own: they hold the broker's password among others, or are set for each task"),
    validation = Rule::new("!has(self.command) || self.command.size() == 0 || self.command[0] != ''")
        .message("handlers: the first word of a command is its program, and cannot be empty"),
    validation = Rule::new("!(self.type in ['exec', 'generate_pdf', 'http_request', 'resize_image', 'send_email', 'sleep'])")
        .message("handlers: exec, generate_pdf, http_request, resize_image, send_email and sleep are built-in types; choose another name")
)]
#[serde(rename_all = "camelCase")]
pub struct HandlerSpec {
    /// The task type.
    #[schemars(length(min = 1, max = 64), regex(pattern = r"^[A-Za-z0-9]([A-Za-z0-9._:-]*[A-Za-z0-9])?$"))]
    pub r#type: String,
    /// The program and its arguments. The program has to be in the image (spec.worker.image). It gets the payload on
    /// its standard input; its standard output is the result; exit code 0 is a success, 75 asks for another attempt, every
    /// other one is permanent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 64), inner(length(max = 4096)))]
    pub command: Option<Vec<String>>,
    /// Where the payload is posted to: http://HOST:PORT/PATH or https://. An answer of 200 to 299 is a success, and its body
    /// the result; 408, 425, 429 and 5xx are tried again, every other one is permanent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 8, max = 2048), regex(pattern = r"^https?://[^\s/:?#][^\s]*$"))]
    pub url: Option<String>,
    /// Environment variables of the command.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 64), extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["name"]))]
    pub env: Option<Vec<HandlerVariable>>,
    /// Names of variables of the worker (spec.worker.env, spec.worker.envFrom) that the command gets too. It gets no others
    /// but PATH and HOME: what the worker knows of the broker is not for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 64), inner(length(min = 1, max = 253), regex(pattern = r"^[A-Za-z_][A-Za-z0-9_]*$")))]
    pub pass_env: Option<Vec<String>>,
    /// The folder that the command runs in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 1024))]
    pub directory: Option<String>,
    /// How long it may take, in seconds, where the task's own timeout is no less.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 604_800))]
    pub timeout_seconds: Option<i64>,
}

/// An environment variable of a command. Its value stands in a ConfigMap: a secret belongs in spec.worker.env, from a Secret,
/// and its name in passEnv.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, PartialEq, Eq)]
pub struct HandlerVariable {
    /// The name.
    #[schemars(length(min = 1, max = 253), regex(pattern = r"^[A-Za-z_][A-Za-z0-9_]*$"))]
    pub name: String,
    /// The value.
    #[schemars(length(max = 8192))]
    pub value: String,
}

#[cfg(test)]
mod tests {
    use kube::CustomResourceExt as _;
    use tidemill_core::TaskType;

    use crate::crd::TaskQueue;

    #[test]
    fn the_definition_refuses_the_name_of_every_built_in_type() {
        let names = TaskType::BUILT_IN.map(|name| format!("'{name}'")).join(", ");
        let definition = serde_json::to_string(&TaskQueue::crd()).unwrap();
        assert!(definition.contains(&format!("self.type in [{names}]")));
    }
}
