//! Registration of native functions.

use crate::calls::call::Call;
use crate::declaration::Declaration;
use crate::errors::problem::{Problem, Raise};
use rhai::{Dynamic, Engine, Variant};
use std::any::TypeId;
use std::sync::Arc;

/// The engine that functions are registered with, and the declaration that they work on.
pub(crate) struct Natives<'a> {
    pub(crate) engine: &'a mut Engine,
    pub(crate) declaration: &'a Arc<Declaration>,
}

/// A native function of `N` arguments.
type Native<const N: usize> = fn(&Call<'_>, [Dynamic; N]) -> Result<Dynamic, Raise>;

impl Natives<'_> {
    /// Adds a function that takes values of any type: it says itself what is wrong with them.
    pub(crate) fn add<const N: usize>(&mut self, name: &'static str, native: Native<N>) {
        self.raw(name, [TypeId::of::<Dynamic>(); N], native);
    }

    /// Adds a function whose first argument is of a certain type.
    pub(crate) fn method<T: Variant + Clone, const N: usize>(&mut self, name: &'static str, native: Native<N>) {
        let mut types = [TypeId::of::<Dynamic>(); N];
        types[0] = TypeId::of::<T>();
        self.raw(name, types, native);
    }

    /// Adds an operator that has a value of a certain type on either side.
    pub(crate) fn operator<T: Variant + Clone>(&mut self, name: &'static str, native: Native<2>) {
        self.raw(name, [TypeId::of::<T>(), TypeId::of::<Dynamic>()], native);
        self.raw(name, [TypeId::of::<Dynamic>(), TypeId::of::<T>()], native);
    }

    /// Adds a property.
    pub(crate) fn getter<T: Variant + Clone>(
        &mut self,
        name: &'static str,
        native: fn(&Call<'_>, Dynamic) -> Result<Dynamic, Raise>,
    ) {
        let declaration = self.declaration.clone();
        self.engine.register_raw_fn(format!("get${name}"), [TypeId::of::<T>()], move |context, args| {
            let call = Call { context: &context, declaration: &declaration, name };
            native(&call, args[0].flatten_clone()).map_err(|raise| call.raise(raise))
        });
    }

    /// Puts an error in the place of a function of the interpreter that must not be called.
    pub(crate) fn refused(&mut self, name: &'static str, types: &[TypeId]) {
        let declaration = self.declaration.clone();
        self.engine.register_raw_fn(name, types, move |context, _| {
            let call = Call { context: &context, declaration: &declaration, name };
            let problem = Problem::forbidden(name).unwrap_or_default();
            Err::<Dynamic, _>(call.raise(problem.into()))
        });
    }

    /// Adds a function of certain types.
    pub(crate) fn raw<const N: usize>(&mut self, name: &'static str, types: [TypeId; N], native: Native<N>) {
        let declaration = self.declaration.clone();
        self.engine.register_raw_fn(name, types, move |context, args| {
            let call = Call { context: &context, declaration: &declaration, name };
            // The first argument may be a variable of the script, which stays as it is.
            let args = std::array::from_fn(|index| match index {
                0 => args[0].flatten_clone(),
                _ => args[index].take().flatten(),
            });
            native(&call, args).map_err(|raise| call.raise(raise))
        });
    }
}
