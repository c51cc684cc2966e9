//! `plenary identity`: makes a lasting key, and prints the id that lists of members want.

use std::io::Write as _;

use plenary::{Identity, SignedName};

use crate::args::IdentityArgs;
use crate::{Failure, usage};

pub(crate) fn run(args: &IdentityArgs) -> Result<(), Failure> {
    if let Some(name) = args.name.as_deref() {
        // before a key is made for a name that can't be signed
        SignedName::new(&Identity::generate(), name).map_err(|error| usage(error.to_string()))?;
    }
    let identity = Identity::load_or_create(&args.file)?;
    let name = match args.name.as_deref() {
        Some(name) => {
            let signed = SignedName::new(&identity, name)?;
            signed.save(&args.file)?;
            Some(signed)
        }
        None => SignedName::load(&identity, &args.file)?,
    };
    let mut stdout = std::io::stdout().lock();
    match name {
        Some(signed) => writeln!(stdout, "{signed}")?,
        None => writeln!(stdout, "{}", identity.peer())?,
    }
    stdout.flush()?;
    Ok(())
}
