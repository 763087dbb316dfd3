use std::time::Duration;

use expect_test::{Expect, expect};
use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;

/// The whole of what a manifest can say.
const WHOLE: &str = r#"
schema = 1
[engine]
id = "acme/terraform"
version = "1.4.0"
world = "nestor:engine/engine@0.1.0"
[[http]]
origin = "https://api.acme.io:443"
methods = ["GET", "POST"]
paths = ["/v1/stacks/**"]
addresses = "public"
redirects = "none"
max_body = "8MiB"
deadline = "30s"
auth = { secret = "acme-token", as = "bearer" }
[[fs]]
mount = "/work"
source = "checkout"
mode = "rw"
quota = "512MiB"
[[tool]]
name = "terraform"
args = [["plan", "-input=false", "-out=*"], ["apply", "**"]]
env = ["TF_IN_AUTOMATION=1", "TF_WORKSPACE"]
deadline = "20m"
reason = "Plans user HCL"
[secrets]
names = ["acme-token"]
[kv]
quota = "1MiB"
[limits]
memory = "256MiB"
cpu = "60s"
wall = "30m"
log_bytes = "4MiB"
events_per_second = 20
"#;

fn manifest_error(text: &str, expected: Expect) {
    match Manifest::parse(text, "engine.toml") {
        Ok(manifest) => panic!("accepted: {manifest:?}"),
        Err(error) => expected.assert_eq(&error.to_string()),
    }
}

fn grant(text: &str) -> Capabilities {
    Capabilities::parse_grant(text, "grant.toml").unwrap()
}

fn missing(requested: &str, granted: &str, expected: Expect) {
    let missing = effective(&grant(requested), &grant(granted)).unwrap_err();
    expected.assert_eq(&missing.iter().map(|m| format!("{m}\n")).collect::<String>());
}

#[test]
fn a_whole_manifest() {
    let manifest = Manifest::parse(WHOLE, "engine.toml").unwrap();
    assert_eq!(manifest.id.to_string(), "acme/terraform");
    assert_eq!(manifest.id.name.as_str(), "terraform");
    assert_eq!(manifest.world.to_string(), CONTRACT);
    let c = &manifest.capabilities;
    assert_eq!(c.http[0].origin.to_string(), "https://api.acme.io:443");
    assert_eq!(c.http[0].auth.as_ref().unwrap().scheme, AuthScheme::Bearer);
    assert_eq!(c.checkout_quota(), 512 << 20);
    assert_eq!(c.tools[0].deadline, Duration::from_secs(1200));
    assert_eq!(c.limits.memory, 256 << 20);
    assert_eq!(c.limits.concurrency, Limits::DEFAULT_CONCURRENCY);
    let again = Capabilities::from_json(&c.to_json(), "json").unwrap();
    assert_eq!(&again, c);
    assert!(effective(c, c).is_ok());
}

#[test]
fn without_a_manifest_nothing_is_requested() {
    let manifest = Manifest::default_for("mine".parse().unwrap());
    let grant = effective(&manifest.capabilities, &Capabilities::default()).unwrap();
    assert!(!grant.allows_http());
    expect![[r#"tool "terraform" is not granted; granted: nothing"#]]
        .assert_eq(&grant.allows_tool("terraform", &["plan"]).unwrap_err());
}

#[test]
fn problems_are_told_with_their_lines() {
    manifest_error(
        "schema = ",
        expect!["engine.toml:1: not TOML: string values must be quoted, expected literal string"],
    );
    manifest_error(
        "schema = 1\n[engine\n",
        expect!["engine.toml:2: not TOML: unclosed table, expected `]`"],
    );
    manifest_error(
        "",
        expect![[r#"
        engine.toml:1: schema: is missing
        engine.toml:1: engine: is missing"#]],
    );
    manifest_error(
        "schema = 2\n[engine]\nid = \"a/b/c\"\nversion = \"1\"\nworld = \"nestor:engine/engine@0.2.0\"\nwrld = 1\n",
        expect![[r#"
            engine.toml:1: schema: is 2; this host reads schema 1
            engine.toml:3: engine.id: engine "b/c" contains '/'; only lower-case letters, digits and '-' are allowed; write 'name' or 'vendor/name'
            engine.toml:4: engine.version: is not a version such as 1.4.0: unexpected end of input while parsing major version number
            engine.toml:5: engine.world: speaks contract 0.2.0, and this host 0.1.0: use a newer host, or build the engine against the contract of this one
            engine.toml:6: engine.wrld: unknown key; did you mean "world"? Known are id, version, world."#]],
    );
    let start = "schema = 1\n[engine]\nid = \"a\"\nversion = \"1.0.0\"\nworld = \"other:engine/engine@0.1.0\"\n";
    manifest_error(
        start,
        expect![[
            r#"engine.toml:5: engine.world: "other:engine/engine@0.1.0" is not a world of this host; it speaks "nestor:engine/engine@0.1.0""#
        ]],
    );
    let start = start.replace("other", "nestor");
    manifest_error(
        &format!(
            "{start}[[htpp]]\n[[http]]\norigin = \"ftp://x\"\nmethods = [\"get\", 1]\npaths = [\"v1\"]\naddresses = \"privat\"\n\
             redirects = true\nmax_body = \"8MB\"\ndeadline = \"1d\"\nauth = {{ secret = \"A\", as = \"digest\" }}\nmethod = []\n"
        ),
        expect![[r#"
            engine.toml:6: htpp: unknown key; did you mean "http"? Known are schema, engine, http, fs, tool, secrets, kv, limits.
            engine.toml:8: http[0].origin: "ftp://x" is not an origin: the scheme must be http or https; write it as https://api.example.com:443
            engine.toml:9: http[0].methods: each element must be a text, not a whole number
            engine.toml:10: http[0].paths: "v1" must begin with '/'
            engine.toml:11: http[0].addresses: is "privat"; it must be one of public, private, loopback; did you mean "private"?
            engine.toml:12: http[0].redirects: must be a text, not true or false
            engine.toml:13: http[0].max_body: "8MB" is not a size; write it as 512KiB, 64MiB or 1GiB
            engine.toml:14: http[0].deadline: is 1d; it must be above 0s and at most 10m
            engine.toml:15: http[0].auth.secret: "A" is not the name of a secret: lower-case letters, digits and '-'
            engine.toml:15: http[0].auth.as: is "digest"; it must be one of bearer, basic
            engine.toml:16: http[0].method: unknown key; did you mean "methods"? Known are origin, methods, paths, addresses, redirects, max_body, deadline, auth, reason."#]],
    );
    manifest_error(
        &format!(
            "{start}[[tool]]\nname = \"/usr/bin/terraform\"\nargs = [[\"**\", \"x\"], \"plan\", [1]]\nenv = [\"A B=1\"]\ndeadline = 5\n\
             [[fs]]\nsource = \"definition\"\nmode = \"rw\"\nmount = \"/work\"\n[[fs]]\nsource = \"/etc\"\n\
             [limits]\nmemory = \"8GiB\"\ncpu = \"0s\"\nevents_per_second = 0\nwal = \"1s\"\n[kv]\nquota = -1\n[secrets]\nnames = [\"../x\"]\n"
        ),
        expect![[r#"
            engine.toml:7: tool[0].name: "/usr/bin/terraform" is not the name of a tool: use a name of the host's registry, such as "terraform", never a path
            engine.toml:8: tool[0].args[0]: has "**" before its end; it may only be the last element
            engine.toml:8: tool[0].args[1]: must be a list, not a text
            engine.toml:8: tool[0].args[2]: each element must be a text, not a whole number
            engine.toml:9: tool[0].env[0]: "A B=1" is not NAME=value, or NAME for any value
            engine.toml:10: tool[0].deadline: must be a text, not a whole number
            engine.toml:13: fs[0].mode: cannot be "rw": a definition is never written
            engine.toml:14: fs[0].mount: is "/work"; the source "definition" is always at "/definition"
            engine.toml:16: fs[1].source: is "/etc"; it must be one of definition, checkout
            engine.toml:18: limits.memory: is 8GiB; it must be 1MiB to 2GiB
            engine.toml:19: limits.cpu: is 0s; it must be above 0s and at most 10m
            engine.toml:20: limits.events_per_second: must be 1 to 1000
            engine.toml:21: limits.wal: unknown key; did you mean "wall"? Known are memory, cpu, wall, log_bytes, events_per_second, output_bytes, concurrency.
            engine.toml:23: kv.quota: must not be negative
            engine.toml:25: secrets.names[0]: "../x" is not the name of a secret: lower-case letters, digits and '-'"#]],
    );
    manifest_error(
        &"#".repeat(70_000),
        expect!["engine.toml: has 70000 bytes; at most 65536 are allowed"],
    );
    let error = Capabilities::from_json(
        &json!({"limits": {"memory": 5.5}, "engine": {}}),
        "config engines.a.grants",
    )
    .unwrap_err();
    expect![[r#"
        config engines.a.grants: engine: unknown key. Known are schema, http, fs, tool, secrets, kv, limits.
        config engines.a.grants: limits.memory: must be a text, not a fraction"#]].assert_eq(&error.to_string());
}

#[test]
fn deep_documents_are_refused() {
    for text in [
        "a = ".to_owned() + &"[".repeat(30_000),
        "a".to_owned() + &".a".repeat(30_000) + " = 1",
        "[[a]]\n".repeat(9000),
    ] {
        assert!(Manifest::parse(&text, "engine.toml").is_err());
    }
}

#[test]
fn what_is_missing_is_listed() {
    missing(
        r#"
        [[http]]
        origin = "https://api.acme.io"
        [[http]]
        origin = "https://*.example.com"
        methods = ["GET", "DELETE"]
        paths = ["/v1/*", "/v2/**"]
        [[http]]
        origin = "https://big.example.com"
        max_body = "64MiB"
        addresses = "private"
        [[tool]]
        name = "terraform"
        args = [["plan", "**"], ["version"]]
        env = ["TF_LOG", "TF_INPUT=0"]
        deadline = "1h"
        [[tool]]
        name = "bash"
        args = [["**"]]
        reason = "Runs scripts"
        [[fs]]
        source = "checkout"
        quota = "1GiB"
        [secrets]
        names = ["a", "b"]
        [kv]
        quota = "2MiB"
        [limits]
        memory = "1GiB"
        cpu = "1m"
        wall = "1h"
        log_bytes = "2MiB"
        events_per_second = 50
        output_bytes = "16MiB"
        concurrency = 32
        "#,
        r#"
        [[http]]
        origin = "https://*.example.com"
        paths = ["/v1/**", "/"]
        [[http]]
        origin = "https://big.example.com"
        [[tool]]
        name = "terraform"
        args = [["plan"], ["version"]]
        env = ["TF_LOG=info", "TF_INPUT"]
        deadline = "30m"
        [secrets]
        names = ["b"]
        "#,
        expect![[r#"
            http: requested https://api.acme.io:443; granted https://*.example.com:443, https://big.example.com:443
            http: requested DELETE https://*.example.com:443/v1/*; granted GET/HEAD /v1/**, GET/HEAD /
            http: requested DELETE https://*.example.com:443/v2/**; granted GET/HEAD /v1/**, GET/HEAD /
            http: requested GET https://*.example.com:443/v2/**; granted GET/HEAD /v1/**, GET/HEAD /
            http: requested GET https://big.example.com:443/** with addresses private, redirects none, max_body 64MiB, deadline 30s, no auth; granted addresses public, redirects none, max_body 8MiB, deadline 30s, no auth
            http: requested HEAD https://big.example.com:443/** with addresses private, redirects none, max_body 64MiB, deadline 30s, no auth; granted addresses public, redirects none, max_body 8MiB, deadline 30s, no auth
            fs: requested /work rw with quota 1GiB; granted /work rw with quota 256MiB
            tool: requested terraform with arguments ["plan", "**"]; granted ["plan"], ["version"]
            tool: requested terraform with variable TF_LOG; granted TF_LOG=info, TF_INPUT
            tool: requested terraform with deadline 1h; granted 30m
            tool: requested bash (Runs scripts); granted terraform
            secrets: requested a; granted b
            kv: requested quota 2MiB; granted 1MiB
            limits: requested memory 1GiB; granted 96MiB
            limits: requested cpu 1m; granted 10s
            limits: requested wall 1h; granted 5m
            limits: requested log_bytes 2MiB; granted 1MiB
            limits: requested events_per_second 50; granted 20
            limits: requested output_bytes 16MiB; granted 8MiB
            limits: requested concurrency 32; granted 16
        "#]],
    );
    missing(
        "[[tool]]\nname = \"terraform\"\nargs = [[\"plan\"]]\n",
        "",
        expect![[r#"
            tool: requested terraform; granted nothing
        "#]],
    );
}

#[test]
fn arguments() {
    let pattern = |elements: &[&str]| ArgPattern::new(elements).unwrap();
    for (elements, yes, no) in [
        (&["plan"][..], vec!["plan"], vec!["", "plan x", "plans"]),
        (
            &["plan", "*"],
            vec!["plan x", "plan -x"],
            vec!["plan", "plan x y"],
        ),
        (
            &["plan", "-out=*"],
            vec!["plan -out=", "plan -out=a"],
            vec!["plan out", "plan -out"],
        ),
        (
            &["plan", "**"],
            vec!["plan", "plan a b c"],
            vec!["", "apply"],
        ),
        (&["**"], vec!["", "a b"], vec![]),
        (&[], vec![""], vec!["a"]),
    ] {
        let args = |line: &str| {
            line.split(' ')
                .filter(|a| !a.is_empty())
                .map(str::to_owned)
                .collect::<Vec<_>>()
        };
        for line in yes {
            assert!(
                pattern(elements).matches(&args(line)),
                "{elements:?} {line:?}"
            );
        }
        for line in no {
            assert!(
                !pattern(elements).matches(&args(line)),
                "{elements:?} {line:?}"
            );
        }
    }
    assert!(ArgPattern::new(&["**", "x"]).is_err());
    assert!(ArgPattern::new(&["a\0"]).is_err());
    let refusal = effective(
        &grant("[[tool]]\nname = \"tf\"\nargs = [[\"plan\", \"-out=*\"]]\n"),
        &grant("[[tool]]\nname = \"tf\"\nargs = [[\"**\"]]\n"),
    )
    .unwrap()
    .allows_tool("tf", &["plan", "-chdir=/"])
    .unwrap_err();
    expect![[r#"tool "tf" is not granted with the arguments ["plan", "-chdir=/"]; granted: ["plan", "-out=*"]"#]].assert_eq(&refusal);
}

#[test]
fn variables() {
    let grant = grant("[[tool]]\nname = \"tf\"\nargs = [[]]\nenv = [\"A=1\", \"B\", \"C=\"]\n");
    let tool = &grant.tools[0];
    assert!(
        tool.allows_env("A", "1") && tool.allows_env("B", "anything") && tool.allows_env("C", "")
    );
    assert!(
        !tool.allows_env("A", "2")
            && !tool.allows_env("C", "x")
            && !tool.allows_env("LD_PRELOAD", "x")
    );
}

#[test]
fn origins() {
    for (text, shown) in [
        ("https://api.acme.io", "https://api.acme.io:443"),
        ("http://localhost:8080/", "http://localhost:8080"),
        ("https://10.0.0.1:6443", "https://10.0.0.1:6443"),
        ("https://[::1]:6443", "https://[::1]:6443"),
        ("https://[2001:DB8::0:1]", "https://[2001:db8::1]:443"),
        ("https://*.acme.io", "https://*.acme.io:443"),
    ] {
        assert_eq!(
            text.parse::<Origin>().map(|o| o.to_string()),
            Ok(shown.to_owned()),
            "{text}"
        );
    }
    for bad in [
        "",
        "api.acme.io",
        "ftp://a",
        "https://",
        "https://a/b",
        "https://a?x",
        "https://u@a",
        "https://a:0",
        "https://a:70000",
        "https://a:+1",
        "https://A.io",
        "https://а.io",
        "https://a..b",
        "https://a.",
        "https://-a",
        "https://*",
        "https://*.io",
        "https://a.*",
        "https://2130706433",
        "https://0x7f.1",
        "https://127.1",
        "https://1.2.3.4.5",
        "https://[::1",
        "https://[x]",
        "https://[::1]x",
        "https://a\\b",
        "https://a b",
    ] {
        assert!(bad.parse::<Origin>().is_err(), "{bad}");
    }
    let wide: Origin = "https://*.acme.io".parse().unwrap();
    for (host, expected) in [
        ("a.acme.io", true),
        ("a.b.acme.io", true),
        ("acme.io", false),
        ("xacme.io", false),
        (".acme.io", false),
    ] {
        assert_eq!(wide.matches(Scheme::Https, host, 443), expected, "{host}");
    }
    assert!(
        !wide.matches(Scheme::Http, "a.acme.io", 443)
            && !wide.matches(Scheme::Https, "a.acme.io", 8443)
    );
}

#[test]
fn paths() {
    for (pattern, path, expected) in [
        ("/**", "/", true),
        ("/**", "/a/b", true),
        ("/v1/*", "/v1/a", true),
        ("/v1/*", "/v1/", false),
        ("/v1/*", "/v1", false),
        ("/v1/*", "/v1/a/b", false),
        ("/v1/**", "/v1", true),
        ("/v1/**", "/v1/a/b", true),
        ("/v1/**", "/v10", false),
        ("/", "/", true),
        ("/", "/a", false),
        ("/a", "a", false),
    ] {
        assert_eq!(
            pattern.parse::<PathPattern>().unwrap().matches(path),
            expected,
            "{pattern} {path}"
        );
    }
    for bad in [
        "", "v1", "/**/a", "/a//b", "/../a", "/a/.", "/a*", "/a%2e", "/a?b", "/a b",
    ] {
        assert!(bad.parse::<PathPattern>().is_err(), "{bad}");
    }
}

#[test]
#[expect(
    clippy::disallowed_methods,
    reason = "the test reads the manifests, not the core"
)]
fn the_engines_of_this_repository_have_manifests() {
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../..");
    for path in [
        "engines-wasm/terraform",
        "engines-wasm/helm",
        "examples/engine-rust",
        "examples/engine-go",
    ] {
        let file = root.join(path).join("engine.toml");
        let text = std::fs::read_to_string(&file).unwrap();
        Manifest::parse(&text, path).unwrap_or_else(|error| panic!("{error}"));
    }
}

fn pick<T: Clone + std::fmt::Debug + 'static>(all: &[T]) -> impl Strategy<Value = T> + use<T> {
    prop::sample::select(all.to_vec())
}

fn some<T: Clone + std::fmt::Debug + 'static>(
    all: &[T],
    most: usize,
) -> impl Strategy<Value = Vec<T>> + use<T> {
    prop::collection::vec(pick(all), 1..=most)
}

fn http_rules() -> impl Strategy<Value = Value> {
    (
        pick(&[
            "https://a.example.com",
            "https://*.example.com",
            "http://a.example.com:80",
            "https://b.io",
        ]),
        some(&["GET", "POST", "PUT"], 2),
        some(&["/**", "/a/**", "/a/*", "/a/b", "/"], 2),
        pick(&["public", "private", "loopback"]),
        pick(&["none", "same-origin", "granted"]),
        pick(&["1MiB", "8MiB"]),
        pick(&["10s", "30s"]),
        prop::option::of(pick(&["bearer", "basic"])),
    )
        .prop_map(
            |(origin, methods, paths, addresses, redirects, max_body, deadline, auth)| {
                let mut rule = json!({
                    "origin": origin, "methods": methods, "paths": paths, "addresses": addresses,
                    "redirects": redirects, "max_body": max_body, "deadline": deadline,
                });
                if let Some(auth) = auth {
                    rule["auth"] = json!({"secret": "token", "as": auth});
                }
                rule
            },
        )
}

fn tool_rules() -> impl Strategy<Value = Value> {
    let argument = pick(&["plan", "-a", "-a*", "*", "x"]);
    let args =
        (prop::collection::vec(argument, 0..3), any::<bool>()).prop_map(|(mut args, open)| {
            args.extend(open.then_some("**"));
            args
        });
    (pick(&["tf", "pulumi"]), prop::collection::vec(args, 1..3), some(&["A", "A=1", "B=2"], 2), pick(&["1m", "2m"]))
        .prop_map(|(name, args, env, deadline)| json!({"name": name, "args": args, "env": env, "deadline": deadline}))
}

fn capabilities() -> impl Strategy<Value = Capabilities> {
    (
        prop::collection::vec(http_rules(), 0..3),
        prop::collection::vec(tool_rules(), 0..3),
        prop::collection::vec(pick(&["token", "other"]), 0..2),
        pick(&["1MiB", "2MiB"]),
        prop::option::of(pick(&["100MiB", "1GiB"])),
        pick(&["64MiB", "128MiB"]),
        pick(&["5s", "10s"]),
    )
        .prop_map(|(http, tool, secrets, kv, checkout, memory, cpu)| {
            let fs = checkout.map(|quota| json!({"source": "checkout", "quota": quota}));
            let document = json!({
                "http": http, "tool": tool, "secrets": {"names": secrets}, "kv": {"quota": kv},
                "fs": fs.into_iter().collect::<Vec<_>>(), "limits": {"memory": memory, "cpu": cpu},
            });
            Capabilities::from_json(&document, "generated").unwrap()
        })
}

/// Everything of both.
fn joined(a: &Capabilities, b: &Capabilities) -> Capabilities {
    let mut both = a.clone();
    both.http.extend(b.http.iter().cloned());
    both.tools.extend(b.tools.iter().cloned());
    both.secrets.extend(b.secrets.iter().cloned());
    both.fs.retain(|_| false);
    let larger = if a.checkout_quota() > b.checkout_quota() {
        a
    } else {
        b
    };
    both.fs.extend(larger.fs.iter().cloned());
    both.kv_quota = a.kv_quota.max(b.kv_quota);
    both.limits.memory = a.limits.memory.max(b.limits.memory);
    both.limits.cpu = a.limits.cpu.max(b.limits.cpu);
    both
}

fn arguments_of_any_kind() -> impl Strategy<Value = Vec<&'static str>> {
    prop::collection::vec(pick(&["plan", "-a", "-ab", "x", "y", ""]), 0..4)
}

proptest! {
    #[test]
    fn what_is_granted_is_what_was_requested(requested in capabilities(), granted in capabilities()) {
        if let Ok(grant) = effective(&requested, &granted) {
            prop_assert_eq!(grant.capabilities(), &requested);
        }
        prop_assert!(effective(&requested, &joined(&requested, &granted)).is_ok());
        prop_assert!(effective(&requested, &requested).is_ok());
    }

    /// No use that is allowed in the end was not granted.
    #[test]
    fn what_is_allowed_was_granted(
        requested in capabilities(), granted in capabilities(), tool in pick(&["tf", "pulumi"]), args in arguments_of_any_kind(),
        host in pick(&["a.example.com", "b.example.com", "b.io"]), method in pick(&["GET", "POST", "PUT"]),
        path in pick(&["/", "/a", "/a/b", "/a/b/c", "/x"]), value in pick(&["1", "2"]),
    ) {
        // Half of the time something that can be granted.
        let granted = if value == "1" { joined(&granted, &requested) } else { granted };
        let Ok(grant) = effective(&requested, &granted) else { return Ok(()) };
        if let Ok(rule) = grant.allows_tool(tool, &args) {
            let allows = |g: &ToolRule| g.name == tool && g.args.iter().any(|p| p.matches(&args)) && g.deadline >= rule.deadline;
            prop_assert!(granted.tools.iter().any(allows));
            for name in ["A", "B"] {
                let allowed = granted.tools.iter().any(|g| g.name == tool && g.allows_env(name, value));
                prop_assert!(!rule.allows_env(name, value) || allowed);
            }
        }
        if let Ok(rule) = grant.allows_request(Scheme::Https, host, 443, method, path) {
            let allows = |g: &HttpRule| {
                g.matches(Scheme::Https, host, 443, method, path) && g.max_body >= rule.max_body && g.addresses >= rule.addresses
            };
            prop_assert!(granted.http.iter().any(allows));
        }
        prop_assert!(grant.limits().memory <= granted.limits.memory && grant.capabilities().kv_quota <= granted.kv_quota);
        prop_assert!(grant.capabilities().checkout_quota() <= granted.checkout_quota());
    }

    /// Asking for more never makes less of it missing, and a wider grant never makes more of it missing.
    #[test]
    fn missing_grows_with_the_request_and_shrinks_with_the_grant(a in capabilities(), b in capabilities(), granted in capabilities()) {
        let count = |requested: &Capabilities, granted: &Capabilities| effective(requested, granted).map_or_else(|m| m.len(), |_| 0);
        let refused = |requested: &Capabilities, granted: &Capabilities| effective(requested, granted).is_err();
        prop_assert!(count(&joined(&a, &b), &granted) >= count(&a, &granted));
        prop_assert!(!refused(&a, &joined(&granted, &b)) || refused(&a, &granted));
    }

    #[test]
    fn a_wider_pattern_matches_what_a_narrower_one_does(a in tool_rules(), b in tool_rules(), args in arguments_of_any_kind()) {
        let patterns = |rule: Value| Capabilities::from_json(&json!({"tool": [rule]}), "x").unwrap().tools.remove(0).args;
        for wide in patterns(a) {
            for narrow in patterns(b.clone()) {
                prop_assert!(!wide.covers(&narrow) || !narrow.matches(&args) || wide.matches(&args), "{} {}", wide, narrow);
            }
        }
    }

    #[test]
    fn what_is_shown_is_read_back(capabilities in capabilities()) {
        prop_assert_eq!(Capabilities::from_json(&capabilities.to_json(), "x").unwrap(), capabilities);
    }

    #[test]
    fn no_text_panics(text in ".{0,200}", tail in "(\\[\\[?[a-z]{2,7}\\]?\\]|[a-z]{2,8} = (\"[a-z0-9*:/]{0,12}\"|[0-9.]{1,4}|\\[\\[?\"x\"\\]?\\])|\n){0,12}") {
        let _ = Manifest::parse(&text, "x");
        let _ = Manifest::parse(&format!("{WHOLE}\n{tail}"), "x");
    }
}
