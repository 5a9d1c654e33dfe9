//! Which stream or store a command is about: its owner, its server.

use anyhow::bail;

use super::{BadUsage, connect::BusFlags, flags::Flags};
use crate::{
    broker::{User, user::Identity},
    bus::{self, Client, RequestOptions},
    persist::client::{Owner, Persist},
};

/// Flags that the commands about streams and stores share.
#[derive(Clone, Debug, clap::Args)]
pub(super) struct StoreFlags {
    /// Whose it is: account, project, hub, account:ID, project:ID or host:ID; by default that of whoever signs in
    #[arg(long, value_name = "OWNER")]
    owner: Option<String>,
    #[command(flatten)]
    pub bus: BusFlags,
}

impl StoreFlags {
    /// Connects; gives the client and the owner.
    pub async fn open(&self, flags: Flags) -> anyhow::Result<(Persist, Owner)> {
        let wanted = self.owner.as_deref().map(Wanted::parse).transpose()?;
        let client = match wanted {
            Some(Wanted::Known(Owner::Hub)) => self.bus.listen_as_system(flags.clone()).await?,
            _ => self.bus.listen(flags.clone()).await?,
        };
        let user = client.user();
        let owner = match wanted {
            None => owner_of(user.as_ref()),
            Some(Wanted::Known(owner)) => owner,
            Some(wanted) => wanted.find(user.as_ref(), &self.bus.identity(flags)?),
        };
        look_up(&client, &owner).await?;
        Ok((Persist::new(&client), owner))
    }
}

/// The owner as it was said.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Wanted {
    Account,
    Project,
    Known(Owner),
}

impl Wanted {
    fn parse(text: &str) -> Result<Wanted, BadUsage> {
        let wanted = match text.split_once(':') {
            None => match text {
                "account" => Some(Wanted::Account),
                "project" => Some(Wanted::Project),
                "hub" => Some(Wanted::Known(Owner::Hub)),
                _ => None,
            },
            Some(("account", id)) if !id.is_empty() => Some(Wanted::Known(Owner::Account(id.into()))),
            Some(("project", id)) if !id.is_empty() => Some(Wanted::Known(Owner::Project(id.into()))),
            Some(("host", id)) if !id.is_empty() => Some(Wanted::Known(Owner::Host(id.into()))),
            Some(_) => None,
        };
        wanted.ok_or_else(|| {
            BadUsage(format!("--owner {text:?}: allowed: account, project, hub, account:ID, project:ID, host:ID"))
        })
    }

    /// Whoever has signed in, if that is one of the kind; else the one of the settings.
    fn find(self, user: Option<&User>, identity: &crate::config::Identity) -> Owner {
        match (self, user.map(User::identity)) {
            (Wanted::Known(owner), _) => owner,
            (Wanted::Account, Some(Identity::Account(id))) => Owner::Account(id.to_string()),
            (Wanted::Account, _) => Owner::Account(identity.account_id.clone()),
            (Wanted::Project, Some(Identity::Project(id))) => Owner::Project(id.to_string()),
            (Wanted::Project, _) => Owner::Project(identity.project_id.clone()),
        }
    }
}

/// Whoever has signed in. Where nobody signs in, everything is the hub's.
fn owner_of(user: Option<&User>) -> Owner {
    match user.map(User::identity) {
        Some(Identity::Account(id)) => Owner::Account(id.to_string()),
        Some(Identity::Project(id)) => Owner::Project(id.to_string()),
        Some(Identity::Host(id)) => Owner::Host(id.to_string()),
        Some(Identity::Hub(_) | Identity::Anonymous | Identity::Failed) | None => Owner::Hub,
    }
}

/// Says at once when there is no server for the owner's streams; the client itself would go on looking for one.
async fn look_up(client: &Client, owner: &Owner) -> anyhow::Result<()> {
    let scope = owner.scope();
    match client.request(&format!("persist.{scope}.id"), &(), RequestOptions::default()).await {
        Ok(_) => Ok(()),
        Err(bus::Error::NoSubscribers(_)) => {
            bail!("the server has no streams and stores: its persist service does not run")
        }
        Err(error) => Err(anyhow::Error::from(error).context(format!("can't get at the streams of {scope}"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn owners_are_named_by_kind_and_id() {
        assert_eq!(Wanted::parse("account").unwrap(), Wanted::Account);
        assert_eq!(Wanted::parse("hub").unwrap(), Wanted::Known(Owner::Hub));
        assert_eq!(Wanted::parse("host:x").unwrap(), Wanted::Known(Owner::Host("x".into())));
        for text in ["", "nobody", "account:", "hub:1", "system"] {
            assert!(Wanted::parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn by_default_it_is_whoever_signs_in() {
        assert_eq!(owner_of(Some(&User::account("a"))), Owner::Account("a".into()));
        assert_eq!(owner_of(Some(&User::project("p"))), Owner::Project("p".into()));
        assert_eq!(owner_of(Some(&User::system())), Owner::Hub);
        assert_eq!(owner_of(Some(&User::anonymous())), Owner::Hub);
    }
}
