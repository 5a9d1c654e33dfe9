//! How the caller's identity gets into the arguments (hub.md §7.2).

use serde_json::{Map, Value};

use crate::{
    bus::{Error, Result},
    hub::identity::Caller,
};

/// The class of a function.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Class {
    /// Anybody may call; arguments stay.
    NoAuth,
    /// The caller's id is put into the first argument.
    AuthFirst,
    /// The same, for accounts only.
    Account,
    /// The same, for projects only.
    Project,
    /// Anybody with an identity may call; arguments stay.
    SignedIn,
}

impl Class {
    /// Checks who calls, and adjusts the arguments.
    pub(super) fn admit(self, mut args: Vec<Value>, caller: &Caller) -> Result<Vec<Value>> {
        let signed_out = || Error::failure("user must be signed in", 403);
        let (field, id) = match (self, caller) {
            (Class::NoAuth, _) | (Class::SignedIn, Caller::Account(_) | Caller::Project(_)) => return Ok(args),
            (Class::AuthFirst | Class::Account, Caller::Account(id)) => ("account_id", id),
            (Class::AuthFirst | Class::Project, Caller::Project(id)) => ("project_id", id),
            (Class::Project, _) => return Err(Error::failure("must be a project", 403)),
            (Class::AuthFirst | Class::Account | Class::SignedIn, _) => return Err(signed_out()),
        };
        if args.is_empty() {
            args.push(Value::Null);
        }
        if let Some(first) = args.first_mut() {
            if first.is_null() {
                *first = Value::Object(Map::new());
            }
            let Value::Object(first) = first else {
                return Err(Error::failure("the first argument must be an object", 400));
            };
            first.insert(field.into(), id.as_str().into());
        }
        Ok(args)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn hub_075_and_076_the_first_argument_carries_the_caller() {
        let (account, project) = (Caller::Account("A".into()), Caller::Project("P".into()));
        for args in [vec![], vec![json!(null)], vec![json!({})], vec![json!({"account_id": "forged"})]] {
            assert_eq!(Class::AuthFirst.admit(args, &account).unwrap(), [json!({"account_id": "A"})]);
        }
        let args = vec![json!({"project_id": "Q", "x": 1}), json!(2)];
        let admitted = Class::AuthFirst.admit(args.clone(), &project).unwrap();
        assert_eq!(admitted, [json!({"project_id": "P", "x": 1}), json!(2)]);
        let admitted = Class::Account.admit(args.clone(), &account).unwrap();
        assert_eq!(admitted[0], json!({"project_id": "Q", "x": 1, "account_id": "A"}));
        assert!(Class::AuthFirst.admit(vec![json!([1])], &account).is_err());
        assert_eq!(Class::SignedIn.admit(args.clone(), &project).unwrap(), args);
        assert_eq!(Class::NoAuth.admit(args.clone(), &Caller::Nobody).unwrap(), args);
    }

    #[test]
    fn classes_keep_others_out() {
        let (account, project) = (Caller::Account("A".into()), Caller::Project("P".into()));
        let refused = |class: Class, caller: &Caller| class.admit(vec![], caller).unwrap_err().to_string();
        assert_eq!(refused(Class::Account, &project), "user must be signed in");
        assert_eq!(refused(Class::Project, &account), "must be a project");
        for class in [Class::AuthFirst, Class::Account, Class::SignedIn] {
            assert_eq!(refused(class, &Caller::Nobody), "user must be signed in");
        }
    }
}
