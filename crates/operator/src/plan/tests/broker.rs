use super::*;

fn env(case: &Case) -> Vec<(String, String)> {
    case.worker().env.unwrap().iter().map(told).collect()
}

fn pairs(expected: &[(&str, &str)]) -> Vec<(String, String)> {
    expected.iter().map(|(name, source)| ((*name).to_owned(), (*source).to_owned())).collect()
}

fn sources(case: &Case) -> Value {
    serde_json::to_value(&case.pod_spec().volumes.unwrap()[0]).unwrap()["projected"]["sources"].clone()
}

#[test]
fn an_own_broker_is_reached_by_what_its_spec_names() {
    let secret = |key: &str| json!({ "name": "redis", "key": key });
    let pod = ("POD_NAME", "field metadata.name");
    let cases = [
        (json!({ "url": "redis://redis:6379/0" }), vec![("TIDEMILL_BROKER__URL", "redis://redis:6379/0"), pod]),
        (
            // The kubelet reads `$$` as one dollar sign, and would expand `$(A)`.
            json!({ "url": "redis://:a$(A)$@redis:6379/0" }),
            vec![("TIDEMILL_BROKER__URL", "redis://:a$$(A)$$@redis:6379/0"), pod],
        ),
        (json!({ "urlFrom": secret("url") }), vec![("TIDEMILL_BROKER__URL", "secret redis/url"), pod]),
        (
            json!({
                "url": "rediss://redis:6379/0", "usernameFrom": secret("user"), "passwordFrom": secret("pass"),
                "tls": { "caFrom": { "name": "authorities", "key": "root.pem" } },
            }),
            vec![
                ("TIDEMILL_BROKER__URL", "rediss://redis:6379/0"),
                ("TIDEMILL_BROKER__USERNAME", "secret redis/user"),
                ("TIDEMILL_BROKER__PASSWORD", "secret redis/pass"),
                ("TIDEMILL_BROKER__CA_FILE", "/etc/tidemill/broker/ca.crt"),
                pod,
            ],
        ),
    ];
    for (broker, expected) in cases {
        let case = Case::own(&json!({ "broker": broker }));
        assert_eq!(env(&case), pairs(&expected), "{broker}");
        assert!(case.plan().secret.is_none(), "the Secrets of the user's are read where they are");
        let settings = json!({ "configMap": {
            "name": "mails-worker", "items": [{ "key": "config.yaml", "path": "config.yaml" }],
        } });
        let authorities = json!({ "secret": {
            "name": "authorities", "items": [{ "key": "root.pem", "path": "broker/ca.crt" }],
        } });
        let expected = if broker.get("tls").is_some() { json!([settings, authorities]) } else { json!([settings]) };
        assert_eq!(sources(&case), expected);
    }
}

#[test]
fn the_installations_broker_is_copied_to_a_secret_that_the_pods_read() {
    let case = Case::installation(&json!({ "api": {} }));
    let secret = case.plan().secret.unwrap();
    assert_eq!(secret.type_.as_deref(), Some("Opaque"));
    let data: Vec<_> = secret.data.unwrap().into_iter().map(|(k, v)| (k, String::from_utf8(v.0).unwrap())).collect();
    let expected = [
        ("ca.crt", "PEM"),
        ("password", "s$cret"),
        ("url", "rediss://broker.tidemill.svc:6379/0"),
        ("username", "tide"),
    ];
    assert_eq!(data, pairs(&expected));
    let mut expected = pairs(&[
        ("TIDEMILL_BROKER__URL", "secret mails-broker/url"),
        ("TIDEMILL_BROKER__USERNAME", "secret mails-broker/username"),
        ("TIDEMILL_BROKER__PASSWORD", "secret mails-broker/password"),
        ("TIDEMILL_BROKER__CA_FILE", "/etc/tidemill/broker/ca.crt"),
        ("POD_NAME", "field metadata.name"),
    ]);
    assert_eq!(env(&case), expected);
    assert_eq!(sources(&case)[1]["secret"]["items"], json!([{ "key": "ca.crt", "path": "broker/ca.crt" }]));

    let api = case.plan().api.unwrap().deployment.spec.unwrap().template.spec.unwrap();
    expected.pop();
    assert_eq!(api.containers[0].env.as_ref().unwrap().iter().map(told).collect::<Vec<_>>(), expected);
}

#[test]
fn an_installation_without_password_gives_a_url_alone() {
    let mut case = Case::installation(&json!({}));
    case.installation = Some(Access::new("redis://broker:6379/0"));
    assert_eq!(case.plan().secret.unwrap().data.unwrap().into_keys().collect::<Vec<_>>(), ["url"]);
    let expected = [("TIDEMILL_BROKER__URL", "secret mails-broker/url"), ("POD_NAME", "field metadata.name")];
    assert_eq!(env(&case), pairs(&expected));
}

#[test]
fn no_secret_of_the_installation_stands_in_any_other_object() {
    let objects = Case::installation(&json!({ "api": {} })).plan();
    let others = [
        serde_json::to_string(&objects.config_map).unwrap(),
        serde_json::to_string(&objects.deployment).unwrap(),
        serde_json::to_string(&objects.api.as_ref().unwrap().config_map).unwrap(),
        serde_json::to_string(&objects.api.as_ref().unwrap().deployment).unwrap(),
    ];
    for other in others {
        assert!(!other.contains("s$cret") && !other.contains("s$$cret"), "{other}");
    }
}
