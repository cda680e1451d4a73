//! An API of a queue's own.

use k8s_openapi::api::core::v1::ResourceRequirements;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::SecretKey;

/// A Deployment and a Service that serve this queue alone over HTTP.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase", default)]
pub struct ApiSpec {
    /// What it offers.
    pub form: ApiForm,
    /// How many pods.
    #[schemars(range(min = 0, max = 100))]
    pub replicas: i32,
    /// CPU and memory.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub resources: Option<ResourceRequirements>,
    /// The key of a Secret that holds bearer tokens, one a line. Without it everyone who reaches the Service may do
    /// everything.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tokens_from: Option<SecretKey>,
}

impl Default for ApiSpec {
    fn default() -> Self {
        Self { form: ApiForm::HtmlWs, replicas: 1, resources: None, tokens_from: None }
    }
}

/// The four forms of the application.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Copy, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "snake_case")]
pub enum ApiForm {
    /// REST.
    Rest,
    /// REST and WebSocket.
    Ws,
    /// REST and the web page.
    Html,
    /// All of it.
    #[default]
    HtmlWs,
}

impl ApiForm {
    /// The word of the configuration.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Rest => "rest",
            Self::Ws => "ws",
            Self::Html => "html",
            Self::HtmlWs => "html_ws",
        }
    }
}
