//! The condition keys of one request.

/// What conditions and policy variables may look at: condition keys with one value or several.
///
/// Names compare without case (`AWS:SourceArn` is `aws:sourcearn`), values as the operator says. Setting a key again
/// replaces it. A key with an empty list is an absent key.
///
/// Source: IAM User Guide, "IAM JSON policy elements: Condition", "Creating a condition with multiple keys or values".
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Context {
    // INVARIANT: sorted by name, names in ASCII lower case, no name twice, no empty list.
    keys: Vec<(Box<str>, Values)>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Values {
    /// Only such a key can stand in a policy variable.
    Single(String),
    Multiple(Vec<String>),
}

impl Context {
    /// No keys at all.
    #[must_use]
    pub fn new() -> Context {
        Context::default()
    }

    /// Sets a single-valued key.
    pub fn insert(&mut self, key: &str, value: impl Into<String>) {
        self.set(key, Values::Single(value.into()));
    }

    /// Sets a multivalued key, such as `aws:TagKeys`; an empty list removes the key.
    pub fn insert_list<I>(&mut self, key: &str, values: I)
    where
        I: IntoIterator,
        I::Item: Into<String>,
    {
        let values: Vec<String> = values.into_iter().map(Into::into).collect();
        if values.is_empty() {
            self.remove(key);
        } else {
            self.set(key, Values::Multiple(values));
        }
    }

    /// Takes a key out again.
    pub fn remove(&mut self, key: &str) {
        if let Ok(at) = self.find(key) {
            self.keys.remove(at);
        }
    }

    /// The key's values, never an empty list; `None` if the request does not have the key.
    #[must_use]
    pub fn get(&self, key: &str) -> Option<&[String]> {
        let at = self.find(key).ok()?;
        self.keys.get(at).map(|(_, values)| match values {
            Values::Single(value) => std::slice::from_ref(value),
            Values::Multiple(values) => values.as_slice(),
        })
    }

    /// The value of a single-valued key; `None` for a key set with [`Context::insert_list`].
    pub(crate) fn single(&self, key: &str) -> Option<&str> {
        let at = self.find(key).ok()?;
        match self.keys.get(at) {
            Some((_, Values::Single(value))) => Some(value),
            _ => None,
        }
    }

    fn find(&self, key: &str) -> Result<usize, usize> {
        self.keys.binary_search_by(|(name, _)| name.bytes().cmp(key.bytes().map(|b| b.to_ascii_lowercase())))
    }

    fn set(&mut self, key: &str, values: Values) {
        match self.find(key) {
            Ok(at) => {
                if let Some(slot) = self.keys.get_mut(at) {
                    slot.1 = values;
                }
            }
            Err(at) => self.keys.insert(at, (key.to_ascii_lowercase().into_boxed_str(), values)),
        }
    }
}
