//! Services with named methods.

use std::{collections::HashMap, sync::Arc};

use bytes::Bytes;
use rmpv::Value;
use serde::{Serialize, de::DeserializeOwned};

use super::{
    Service, ServiceOptions, direct,
    runner::{Failures, Handler, serve},
};
use crate::{
    bus::{Client, Error, Message, link::BoxFuture, message},
    wire::msgpack,
};

/// How requests and failures look; see the [module](super).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Convention {
    /// §15.1
    MethodArray,
    /// §15.3
    Api,
    /// §§15.2, 20.12
    Typed,
}

/// A call of a method.
#[derive(Clone, Debug)]
pub struct Call {
    pub(super) subject: Arc<str>,
    pub(super) name: String,
    pub(super) args: Vec<Value>,
}

impl Call {
    /// The subject it came to; with a wildcard pattern it tells who calls.
    pub fn subject(&self) -> &str {
        &self.subject
    }

    /// The method's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// How many arguments there are.
    pub fn len(&self) -> usize {
        self.args.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.args.is_empty()
    }

    /// One argument. One that is missing is nil.
    ///
    /// # Errors
    /// The argument is not a `T`.
    pub fn arg<T: DeserializeOwned>(&self, index: usize) -> Result<T, Error> {
        let value = self.args.get(index).cloned().unwrap_or(Value::Nil);
        msgpack::from_value(value).map_err(|error| {
            Error::message(format!("argument {} of '{}' is not what it should be: {error}", index + 1, self.name))
        })
    }

    /// All arguments, as a tuple.
    ///
    /// # Errors
    /// They are not a `T`.
    pub fn args<T: DeserializeOwned>(&self) -> Result<T, Error> {
        let decoded = msgpack::from_value(Value::Array(self.args.clone()));
        decoded.map_err(|e| Error::message(format!("arguments of '{}' are not what they should be: {e}", self.name)))
    }

    /// All arguments as JSON: bytes become base64, dates ISO 8601.
    pub fn to_json(&self) -> Vec<serde_json::Value> {
        self.args.iter().map(msgpack::to_json).collect()
    }

    /// Reads a request's body.
    pub(super) fn read(convention: Convention, subject: &Arc<str>, body: Value) -> Option<Call> {
        let (name, args) = match (convention, body) {
            (Convention::MethodArray, Value::Array(items)) => {
                let mut items = items.into_iter();
                (items.next()?, items.next())
            }
            (Convention::Api | Convention::Typed, Value::Map(fields)) => {
                let (mut name, mut args) = (None, None);
                for (key, value) in fields {
                    match key.as_str() {
                        Some("name") => name = Some(value),
                        Some("args") => args = Some(value),
                        _ => {}
                    }
                }
                (name?, args)
            }
            _ => return None,
        };
        let args = match args {
            Some(Value::Array(args)) => args,
            None | Some(Value::Nil) => Vec::new(),
            Some(_) => return None,
        };
        Some(Call { subject: subject.clone(), name: name.as_str()?.to_owned(), args })
    }
}

type Method = Box<dyn Fn(Call) -> BoxFuture<Result<Bytes, Error>> + Send + Sync>;

fn boxed<F, T>(method: impl Fn(Call) -> F + Send + Sync + 'static) -> Method
where
    F: Future<Output = Result<T, Error>> + Send + 'static,
    T: Serialize,
{
    Box::new(move |call| {
        let result = method(call);
        Box::pin(async move { Ok(msgpack::encode(&result.await?)?.into()) })
    })
}

/// The methods of a service.
#[derive(Default)]
pub struct Methods {
    methods: HashMap<&'static str, Method>,
    otherwise: Option<Method>,
}

impl std::fmt::Debug for Methods {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_set().entries(self.methods.keys()).finish()
    }
}

impl Methods {
    /// No methods.
    pub fn new() -> Methods {
        Methods::default()
    }

    /// Adds a method.
    #[must_use]
    pub fn method<F, T>(mut self, name: &'static str, method: impl Fn(Call) -> F + Send + Sync + 'static) -> Methods
    where
        F: Future<Output = Result<T, Error>> + Send + 'static,
        T: Serialize,
    {
        self.methods.insert(name, boxed(method));
        self
    }

    /// What is done with calls of any other name.
    #[must_use]
    pub fn otherwise<F, T>(mut self, method: impl Fn(Call) -> F + Send + Sync + 'static) -> Methods
    where
        F: Future<Output = Result<T, Error>> + Send + 'static,
        T: Serialize,
    {
        self.otherwise = Some(boxed(method));
        self
    }

    /// Calls a method.
    pub(super) async fn call(&self, call: Call) -> Result<Bytes, Error> {
        match self.methods.get(call.name.as_str()).or(self.otherwise.as_ref()) {
            Some(method) => method(call).await,
            None => Err(Error::message(format!("method '{}' is not defined", call.name))),
        }
    }

    /// Starts the service on a pattern; it can be reached when this returns.
    ///
    /// # Errors
    /// The pattern is none, or the server refuses the subscription.
    pub async fn serve(
        self,
        client: &Client,
        pattern: &str,
        convention: Convention,
        options: ServiceOptions,
    ) -> Result<Service, Error> {
        let methods = Arc::new(self);
        let failures = if convention == Convention::Typed { Failures::Body } else { Failures::Headers };
        let handler: Handler = {
            let methods = methods.clone();
            Arc::new(move |message: Message| {
                let methods = methods.clone();
                Box::pin(async move {
                    let body: Value = message::decode(message.encoding(), message.payload())?;
                    let call = Call::read(convention, &message.subject().into(), body)
                        .ok_or_else(|| Error::failure("malformed call", 400))?;
                    methods.call(call).await
                })
            })
        };
        let mut service = serve(client, pattern, options.clone(), failures, handler).await?;
        if convention == Convention::Typed {
            direct::serve(&mut service, client, pattern, options, methods).await?;
        }
        Ok(service)
    }
}
