//! The same set in the peers' languages. Their requests are prepared before the clock runs; ours are not.

use crate::set::{CALLERS, Call, Rule, teams_of};
use std::str::FromStr;

/// Judges prepared calls by number and tells whether the call may pass.
pub trait Peer {
    fn judge(&mut self, number: usize) -> bool;
}

pub struct Cedar {
    policies: cedar_policy::PolicySet,
    authorizer: cedar_policy::Authorizer,
    entities: Vec<cedar_policy::Entities>,
    requests: Vec<(usize, cedar_policy::Request)>,
}

impl Cedar {
    pub fn new(rules: &[Rule], calls: &[Call]) -> Self {
        use cedar_policy::{Context, Entities, Entity, EntityUid, Request, RestrictedExpression};
        let text: String = rules
            .iter()
            .map(|rule| {
                let [first, second] = &rule.models;
                let (effect, size) = match (rule.denies, rule.bounded) {
                    (true, _) => ("forbid", format!(" && context.size > {}", rule.bound)),
                    (false, true) => ("permit", format!(" && context.size <= {}", rule.bound)),
                    (false, false) => ("permit", String::new()),
                };
                format!(
                    "@id(\"{}\")\n{effect} (principal in Team::\"{}\", action == Action::\"{}\", resource)\nwhen {{ (resource == Model::\"{first}\" || resource == Model::\"{second}\"){size} }};\n",
                    rule.name, rule.team, rule.endpoint
                )
            })
            .collect();
        let uid = |text: String| EntityUid::from_str(&text).expect("a name");
        let entities = |caller: usize| {
            let teams = teams_of(caller, rules.len()).map(|team| uid(format!("Team::\"{team}\"")));
            let user = Entity::new_no_attrs(uid(format!("User::\"{caller}\"")), teams.iter().cloned().collect());
            Entities::from_entities([user], None).expect("entities")
        };
        let request = |call: &Call| {
            let size = RestrictedExpression::new_long(call.size);
            let context = Context::from_pairs([("size".to_owned(), size)]).expect("a context");
            let (user, action) = (format!("User::\"{}\"", call.caller), format!("Action::\"{}\"", call.endpoint));
            let model = uid(format!("Model::\"{}\"", call.model));
            (call.caller, Request::new(uid(user), uid(action), model, context, None).expect("a request"))
        };
        Self {
            policies: text.parse().expect("cedar policies"),
            authorizer: cedar_policy::Authorizer::new(),
            entities: (0..CALLERS).map(entities).collect(),
            requests: calls.iter().map(request).collect(),
        }
    }
}

impl Peer for Cedar {
    fn judge(&mut self, number: usize) -> bool {
        let (caller, request) = &self.requests[number];
        let answer = self.authorizer.is_authorized(request, &self.policies, &self.entities[*caller]);
        answer.decision() == cedar_policy::Decision::Allow
    }
}

pub struct Regorus {
    vm: regorus::rvm::vm::RegoVM,
    inputs: Vec<regorus::Value>,
}

impl Regorus {
    pub fn new(rules: &[Rule], calls: &[Call]) -> Self {
        let text: String = rules
            .iter()
            .map(|rule| {
                let [first, second] = &rule.models;
                let (set, size) = match (rule.denies, rule.bounded) {
                    (true, _) => ("denied", format!("    input.size > {}\n", rule.bound)),
                    (false, true) => ("allowed", format!("    input.size <= {}\n", rule.bound)),
                    (false, false) => ("allowed", String::new()),
                };
                format!(
                    "{set} contains \"{}\" if {{\n    input.endpoint == \"{}\"\n    input.model in {{\"{first}\", \"{second}\"}}\n    \"{}\" in input.teams\n{size}}}\n",
                    rule.name, rule.endpoint, rule.team
                )
            })
            .collect();
        let text = format!(
            "package bench\nimport rego.v1\n{text}\ndenied contains \"\" if false\nresult := [allowed, denied]\n"
        );
        let mut engine = regorus::Engine::new();
        engine.add_policy("bench.rego".to_owned(), text).expect("rego policies");
        let entry: regorus::Rc<str> = "data.bench.result".into();
        let compiled = engine.compile_with_entrypoint(&entry).expect("compiled");
        let program = regorus::languages::rego::compiler::Compiler::compile_from_policy(&compiled, &[&*entry])
            .expect("a program");
        let mut vm = regorus::rvm::vm::RegoVM::new_with_policy(compiled);
        vm.load_program(program);
        vm.set_data(regorus::Value::new_object()).expect("data");
        let input = |call: &Call| {
            let teams = teams_of(call.caller, rules.len());
            let json = format!(
                r#"{{"teams":{teams:?},"model":{:?},"endpoint":{:?},"size":{}}}"#,
                call.model, call.endpoint, call.size
            );
            regorus::Value::from_json_str(&json).expect("json")
        };
        Self { vm, inputs: calls.iter().map(input).collect() }
    }
}

impl Peer for Regorus {
    fn judge(&mut self, number: usize) -> bool {
        self.vm.set_input(self.inputs[number].clone());
        let result = self.vm.execute().expect("a result");
        let count = |place: usize| result[place].as_set().map_or(0, |set| set.len());
        count(0) > 0 && count(1) == 0
    }
}

pub struct Cel {
    rules: Vec<(bool, cel::Program)>,
    contexts: Vec<cel::Context<'static, 'static>>,
}

impl Cel {
    pub fn new(rules: &[Rule], calls: &[Call]) -> Self {
        let program = |rule: &Rule| {
            let [first, second] = &rule.models;
            let size = match (rule.denies, rule.bounded) {
                (true, _) => format!(" && size > {}", rule.bound),
                (false, true) => format!(" && size <= {}", rule.bound),
                (false, false) => String::new(),
            };
            let text = format!(
                "endpoint == \"{}\" && model in [\"{first}\", \"{second}\"] && \"{}\" in teams{size}",
                rule.endpoint, rule.team
            );
            (rule.denies, cel::Program::compile(&text).expect("a cel program"))
        };
        let context = |call: &Call| {
            let mut context = cel::Context::default();
            let teams: Vec<cel::Value> = teams_of(call.caller, rules.len()).into_iter().map(cel::Value::from).collect();
            context.add_variable_from_value("teams", teams);
            context.add_variable_from_value("model", call.model.clone());
            context.add_variable_from_value("endpoint", call.endpoint.clone());
            context.add_variable_from_value("size", call.size);
            context
        };
        Self { rules: rules.iter().map(program).collect(), contexts: calls.iter().map(context).collect() }
    }
}

impl Peer for Cel {
    fn judge(&mut self, number: usize) -> bool {
        let context = &self.contexts[number];
        let (mut allowed, mut denied) = (false, false);
        for (denies, program) in &self.rules {
            if program.execute(context).expect("a result") == cel::Value::Bool(true) {
                allowed |= !denies;
                denied |= denies;
            }
        }
        allowed && !denied
    }
}

pub struct Wirefilter {
    rules: Vec<(bool, wirefilter::Filter<'static>)>,
    contexts: Vec<wirefilter::ExecutionContext<'static>>,
}

impl Wirefilter {
    /// It has no lists, so a caller's teams are one text that is searched. What lives as long as the process is leaked on purpose:
    /// filters borrow their scheme.
    pub fn new(rules: &[Rule], calls: &[Call]) -> Self {
        let scheme: &'static wirefilter::Scheme =
            Box::leak(Box::new(wirefilter::Scheme! { teams: Bytes, model: Bytes, endpoint: Bytes, size: Int }));
        let filter = |rule: &Rule| {
            let [first, second] = &rule.models;
            let size = match (rule.denies, rule.bounded) {
                (true, _) => format!(" && size > {}", rule.bound),
                (false, true) => format!(" && size <= {}", rule.bound),
                (false, false) => String::new(),
            };
            let text = format!(
                "endpoint == \"{}\" && model in {{\"{first}\" \"{second}\"}} && teams contains \"{};\"{size}",
                rule.endpoint, rule.team
            );
            let text: &'static str = text.leak();
            (rule.denies, scheme.parse(text).expect("a filter").compile())
        };
        let context = |call: &Call| {
            let mut context = wirefilter::ExecutionContext::new(scheme);
            let teams: &'static str = (teams_of(call.caller, rules.len()).join(";") + ";").leak();
            let (model, endpoint): (&'static str, &'static str) =
                (call.model.clone().leak(), call.endpoint.clone().leak());
            context.set_field_value("teams", teams).expect("a text");
            context.set_field_value("model", model).expect("a text");
            context.set_field_value("endpoint", endpoint).expect("a text");
            context.set_field_value("size", call.size as i32).expect("a number");
            context
        };
        Self { rules: rules.iter().map(filter).collect(), contexts: calls.iter().map(context).collect() }
    }
}

impl Peer for Wirefilter {
    fn judge(&mut self, number: usize) -> bool {
        let context = &self.contexts[number];
        let (mut allowed, mut denied) = (false, false);
        for (denies, filter) in &self.rules {
            if filter.execute(context).expect("a result") {
                allowed |= !denies;
                denied |= denies;
            }
        }
        allowed && !denied
    }
}
