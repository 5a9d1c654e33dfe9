//! A store of objects whose fields are saved one by one (conat-persist.md §12.4).

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use rmpv::Value;
use serde::{Serialize, de::DeserializeOwned};

use super::{Dkv, DkvOptions, Error, Notice, Notices, Owner, Persist, Result};
use crate::wire::msgpack;

/// What the name of the stream beneath begins with.
pub const PREFIX: &str = "__dko__";

/// An object: its fields.
pub type Object = BTreeMap<String, Value>;

/// A store of objects. Cloning it makes another handle; it closes with the last one.
#[derive(Clone, Debug)]
pub struct Dko {
    dkv: Dkv,
}

/// Where a field is: the compact JSON of the key and its name.
fn field_key(key: &str, field: &str) -> String {
    serde_json::json!([key, field]).to_string()
}

/// The key and the field of an entry; `None` if the entry is that of an object.
fn read_key(key: &str) -> Option<(String, String)> {
    if !key.starts_with('[') || !key.ends_with(']') {
        return None;
    }
    serde_json::from_str::<(String, String)>(key).ok()
}

impl Dko {
    pub(super) async fn open(persist: &Persist, owner: &Owner, name: &str, options: DkvOptions) -> Result<Dko> {
        Ok(Dko { dkv: Dkv::open(persist, owner, &format!("{PREFIX}{name}"), options).await? })
    }

    /// The store beneath.
    pub fn dkv(&self) -> &Dkv {
        &self.dkv
    }

    fn fields(&self, key: &str) -> Result<Option<Vec<String>>> {
        self.dkv.get(key)
    }

    /// An object.
    ///
    /// # Errors
    /// What is stored is no object.
    pub fn get(&self, key: &str) -> Result<Option<Object>> {
        let Some(fields) = self.fields(key)? else { return Ok(None) };
        let mut object = Object::new();
        for field in fields {
            // Fields may come after the list, or be gone.
            if let Some(value) = self.dkv.get(&field_key(key, &field))? {
                object.insert(field, value);
            }
        }
        Ok(Some(object))
    }

    /// An object as a `T`.
    ///
    /// # Errors
    /// It is no `T`.
    pub fn get_as<T: DeserializeOwned>(&self, key: &str) -> Result<Option<T>> {
        let Some(object) = self.get(key)? else { return Ok(None) };
        let fields = object.into_iter().map(|(name, value)| (name.into(), value)).collect();
        Ok(Some(msgpack::from_value(Value::Map(fields))?))
    }

    /// One field.
    ///
    /// # Errors
    /// It is no `T`.
    pub fn get_field<T: DeserializeOwned>(&self, key: &str, field: &str) -> Result<Option<T>> {
        let is_listed = self.fields(key)?.is_some_and(|fields| fields.iter().any(|other| other == field));
        if is_listed { self.dkv.get(&field_key(key, field)) } else { Ok(None) }
    }

    /// Sets an object: its list of fields if that has changed, and the fields that have.
    ///
    /// # Errors
    /// It is no map with strings for keys, too much is not saved, or the store is closed.
    pub fn set<T: Serialize + ?Sized>(&self, key: &str, object: &T) -> Result<()> {
        let Value::Map(members) = msgpack::decode_value(&msgpack::encode(object)?)? else {
            return Err(Error::Answer("only objects can be stored".into()));
        };
        let mut names = Vec::with_capacity(members.len());
        let mut fields = Vec::with_capacity(members.len());
        for (name, value) in members {
            let name = name.as_str().map(str::to_owned);
            let name = name.ok_or_else(|| Error::Answer("a field's name is no string".into()))?;
            names.push(name.clone());
            fields.push((field_key(key, &name), value));
        }
        if self.fields(key).unwrap_or_default().as_ref() != Some(&names) {
            self.dkv.set(key, &names)?;
        }
        for (key, value) in fields {
            if self.dkv.get::<Value>(&key)?.as_ref() != Some(&value) {
                self.dkv.set(&key, &value)?;
            }
        }
        Ok(())
    }

    /// Deletes an object and the fields that it lists.
    ///
    /// # Errors
    /// Too much is not saved, or the store is closed.
    pub fn delete(&self, key: &str) -> Result<()> {
        let fields = self.fields(key).unwrap_or_default().unwrap_or_default();
        self.dkv.delete(key)?;
        fields.iter().try_for_each(|field| self.dkv.delete(&field_key(key, field)))
    }

    /// Whether there is such an object.
    pub fn has(&self, key: &str) -> bool {
        self.dkv.has(key)
    }

    /// The keys of objects, in order.
    pub fn keys(&self) -> Vec<Arc<str>> {
        self.dkv.keys().into_iter().filter(|key| read_key(key).is_none()).collect()
    }

    /// All objects.
    ///
    /// # Errors
    /// What is stored is no object.
    pub fn all(&self) -> Result<BTreeMap<Arc<str>, Object>> {
        let mut all = BTreeMap::new();
        for key in self.keys() {
            if let Some(object) = self.get(&key)? {
                all.insert(key, object);
            }
        }
        Ok(all)
    }

    /// Keys of objects that change from now on.
    pub fn changes(&self) -> ObjectChanges {
        ObjectChanges { notices: self.dkv.changes() }
    }

    /// Waits until everything is saved or refused.
    ///
    /// # Errors
    /// The store has ended before.
    pub async fn save(&self) -> Result<()> {
        self.dkv.save().await
    }

    /// Saves and closes; what is not saved in this time is lost.
    ///
    /// # Errors
    /// Something was not saved.
    pub async fn end(&self, at_most: Duration) -> Result<()> {
        self.dkv.end(at_most).await
    }

    /// Closes the store. What is not saved is lost.
    pub async fn close(&self) {
        self.dkv.close().await;
    }
}

/// Keys of objects that have changed.
#[derive(Debug)]
pub struct ObjectChanges {
    notices: Notices<Arc<str>>,
}

impl ObjectChanges {
    /// The next one, or `None` when the store is closed.
    pub async fn next(&mut self) -> Option<Notice<Arc<str>>> {
        Some(match self.notices.next().await? {
            Notice::Of(key) => Notice::Of(read_key(&key).map_or(key, |(key, _)| key.into())),
            missed => missed,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn persist_106_keys_of_fields_are_compact_json() {
        assert_eq!(field_key("k", "f"), r#"["k","f"]"#);
        assert_eq!(read_key(r#"["k","f"]"#), Some(("k".into(), "f".into())));
        for object in ["k", "[k]", r#"["a"]"#, r#"["a","b","c"]"#, r#"["a",1]"#, "[", "]"] {
            assert_eq!(read_key(object), None, "{object}");
        }
    }
}
