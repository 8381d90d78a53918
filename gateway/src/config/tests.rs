#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
use super::*;
use std::path::Path;

const GOOD: &str = r#"
data = "data"
[listen]
address = "127.0.0.1:0"
[[issuer]]
url = "https://idp.example.com/realms/ai"
audience = ["inference"]
[[upstream]]
name = "chat"
endpoints = ["http://10.0.0.5:8000", "http://[::1]:8001", "http://models.internal"]
match = { path = "/v1/" }
[policy]
path = "policies/"
"#;

fn errors(text: &str) -> String {
    match parse(Path::new("sallyport.toml"), text) {
        Ok(config) => panic!("accepted: {config:?}"),
        Err(errors) => errors.to_string(),
    }
}

#[test]
fn the_smallest_file_gets_every_default() {
    let config = parse(Path::new("/etc/sallyport/sallyport.toml"), GOOD).unwrap();
    assert_eq!(config.data, Path::new("/etc/sallyport/data"));
    assert_eq!(config.policy, Path::new("/etc/sallyport/policies/"));
    assert_eq!(config.listen.limits, Limits::default());
    assert_eq!(config.admin.address.to_string(), "127.0.0.1:9900");
    assert_eq!(config.approvals.hold, Duration::from_secs(200));
    assert_eq!(config.evidence.durability, Durability::Strict);
    let issuer = config.issuers.first().unwrap();
    assert_eq!((issuer.groups_claim.as_str(), &issuer.jwks), ("groups", &JwksSource::Discovery));
    let endpoints: Vec<_> =
        config.upstreams[0].endpoints.iter().map(|e| (e.host.as_str(), e.port, e.authority.as_str())).collect();
    assert_eq!(
        endpoints,
        [("10.0.0.5", 8000, "10.0.0.5:8000"), ("::1", 8001, "[::1]:8001"), ("models.internal", 80, "models.internal")]
    );
}

#[test]
fn the_example_file_is_good() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples/sallyport.toml");
    load(&path).unwrap();
}

#[test]
fn an_unknown_key_is_an_error_with_a_suggestion() {
    insta::assert_snapshot!(errors(&GOOD.replace("address =", "adress =")));
}

#[test]
fn a_missing_key_and_broken_syntax_name_the_place() {
    insta::assert_snapshot!(errors(&GOOD.replace("name = \"chat\"", "")));
    insta::assert_snapshot!(errors("data = \n"));
}

#[test]
fn every_wrong_value_is_told_at_once() {
    let text = r#"
data = "data"
[listen]
address = "localhost"
cores = 0
[listen.limits]
head_bytes = "32 kilobytes"
head_timeout = 10
[[issuer]]
url = "idp.example.com"
audience = []
[[upstream]]
name = "chat"
endpoints = ["https://api.example.com", "http://host:8000/v1", "10.0.0.5"]
credential = { header = "authorization", value = "Bearer abc" }
match = { path = "v1" }
[policy]
path = "policies/"
[evidence]
durability = "eventually"
key = "abc"
[approvals]
hold = "soon"
"#;
    insta::assert_snapshot!(errors(text));
    insta::assert_snapshot!(errors(&text.replace("head_timeout = 10\n", "")));
}

#[test]
fn two_upstreams_may_share_neither_name_nor_path() {
    let twice =
        format!("{GOOD}[[upstream]]\nname = \"chat\"\nendpoints = [\"http://h:1\"]\nmatch = {{ path = \"/v1/\" }}\n");
    insta::assert_snapshot!(errors(&twice));
}

#[test]
fn a_missing_file_says_so() {
    insta::assert_snapshot!(load(Path::new("no-such-file.toml")).unwrap_err().to_string());
}

#[test]
fn secrets_come_from_files_and_are_never_shown() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("key"), "Bearer s3cret\n").unwrap();
    let value = format!("file:{}", dir.path().join("key").display());
    let line =
        format!("match = {{ path = \"/v1/\" }}\ncredential = {{ header = \"Authorization\", value = \"{value}\" }}");
    let config = parse(Path::new("sallyport.toml"), &GOOD.replace("match = { path = \"/v1/\" }", &line)).unwrap();
    let credential = config.upstreams[0].credential.as_ref().unwrap();
    assert_eq!((credential.header.as_str(), credential.value.expose()), ("authorization", "Bearer s3cret"));
    assert!(!format!("{config:?}").contains("s3cret"));
}

#[test]
fn dialects_are_names_or_routes() {
    let with = |lines: &str| GOOD.replace("match = { path = \"/v1/\" }", lines);
    let dialect = |lines: &str| parse(Path::new("sallyport.toml"), &with(lines)).unwrap().upstreams.remove(0).dialect;
    assert_eq!(dialect(""), Dialect::Auto);
    let anthropic = dialect("dialect = \"anthropic\"");
    assert!(anthropic.route("POST", "/v1/messages").is_some() && anthropic.route("POST", "/v1/responses").is_none());
    let own = dialect(
        "dialect = \"json\"\n[[upstream.route]]\npath = \"/predict/{model}\"\nrequest_text = [\"$.a[*].note\"]\nresponse_text = [\"$.b\"]",
    );
    assert!(own.route("POST", "/predict/x").is_some() && own.route("POST", "/v1/messages").is_none());
    assert_eq!((own.method_of("/predict/x"), own.to_string().as_str()), (Some("POST"), "json"));
    insta::assert_snapshot!(errors(&with("dialect = \"nonsense\"")));
    insta::assert_snapshot!(errors(&with("dialect = \"json\"")));
    insta::assert_snapshot!(errors(&with("[[upstream.route]]\npath = \"/x\"")));
    insta::assert_snapshot!(errors(&with(
        "dialect = \"json\"\n[[upstream.route]]\npath = \"/x\"\nresponse_text = [\"b\"]"
    )));
}
