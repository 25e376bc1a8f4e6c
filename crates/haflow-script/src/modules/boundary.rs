//! Calls from one file into another.
//!
//! The interpreter tells a native function where its own call is, and nothing of the calls that led there. So
//! each function of a module is enclosed in a native one, which notes where the module was called from: that
//! is how a task that the stdlib declares knows its line in the playbook. (The interpreter's debugger knows
//! the calls too, but copies every argument for it: a loop that pushes to a list becomes quadratic.)

use crate::declaration::Declaration;
use crate::declaration::crossing::Crossing;
use crate::place::Site;
use rhai::{AST, Dynamic, EvalAltResult, FnAccess, FnPtr, FuncRegistration, GlobalRuntimeState, Module, RhaiFunc};
use rhai::{ImmutableString, NativeCallContext, Shared};
use std::any::TypeId;
use std::sync::Arc;

/// A function of a module, enclosed.
struct Enclosed {
    declaration: Arc<Declaration>,
    name: ImmutableString,
    /// The module's file.
    file: ImmutableString,
    /// The module as the interpreter has it.
    inner: Shared<Module>,
}

/// Adds to `outer` what a file of its module has, each function enclosed.
pub(crate) fn enclose(declaration: &Arc<Declaration>, ast: &AST, inner: Module, file: &str, outer: &mut Module) {
    let inner: Shared<Module> = inner.into();
    for (name, value) in inner.iter_var() {
        outer.set_var(name, value.clone());
    }
    for function in ast.iter_functions() {
        if function.access != FnAccess::Public || function.this_type.is_some() {
            continue;
        }
        let enclosed = Enclosed {
            declaration: declaration.clone(),
            name: function.name.into(),
            file: file.into(),
            inner: inner.clone(),
        };
        FuncRegistration::new(function.name).with_params_info(&function.params).set_into_module_raw(
            outer,
            vec![TypeId::of::<Dynamic>(); function.params.len()],
            RhaiFunc::Pure {
                func: Arc::new(move |context: Option<NativeCallContext<'_>>, args: &mut [&mut Dynamic]| {
                    let context = context.ok_or("a function of a module is called with a context")?;
                    enclosed.call(&context, args)
                }),
                has_context: true,
                is_pure: true,
                is_volatile: true,
            },
        );
    }
}

impl Enclosed {
    fn call(&self, context: &NativeCallContext<'_>, args: &mut [&mut Dynamic]) -> Result<Dynamic, Box<EvalAltResult>> {
        let site = Site::new(self.declaration.file(context.call_source()), context.call_position());
        let _crossing = Crossing::at(&self.declaration, site);
        let outside = context.global_runtime_state();
        for arg in args.iter_mut() {
            keep_home(&self.declaration, arg, outside);
        }
        let mut inside = outside.clone();
        // The main script stays, for the interpreter looks up its closures there.
        inside.lib.truncate(1);
        inside.lib.push(self.inner.clone());
        inside.truncate_imports(0);
        inside.source = Some(self.file.clone());
        let within = NativeCallContext::new_with_all_fields(
            context.engine(),
            &self.name,
            Some(&self.file),
            &inside,
            context.call_position(),
        );
        let mut result = within.call_fn_raw(&self.name, false, false, args)?;
        keep_home(&self.declaration, &mut result, &inside);
        Ok(result)
    }
}

/// Lets a function that leaves its file run as if it were still there: with its file's functions, imports and
/// name.
fn keep_home(declaration: &Arc<Declaration>, value: &mut Dynamic, home: &GlobalRuntimeState) {
    if !(value.is_fnptr() || value.is_array() || value.is_map()) {
        return;
    }
    let mut shared = None;
    value.deep_scan(|value| {
        if let Some(function) = value.clone().try_cast::<FnPtr>() {
            let home = shared.get_or_insert_with(|| Arc::new(home.clone())).clone();
            if let Ok(bound) = bind(declaration.clone(), function, home) {
                *value = Dynamic::from(bound);
            }
        }
    });
}

#[expect(deprecated, reason = "rhai marks what it may still change; its version is pinned")]
fn bind(
    declaration: Arc<Declaration>,
    function: FnPtr,
    home: Arc<GlobalRuntimeState>,
) -> Result<FnPtr, Box<EvalAltResult>> {
    FnPtr::from_fn("closure", move |context, args| {
        let site = Site::new(declaration.file(context.call_source()), context.call_position());
        let _crossing = Crossing::at(&declaration, site);
        let mut global = (*home).clone();
        global.level = context.call_level() + 1;
        let within = NativeCallContext::new_with_all_fields(
            context.engine(),
            function.fn_name(),
            None,
            &global,
            context.call_position(),
        );
        let args: Vec<Dynamic> = args.iter_mut().map(|arg| arg.take()).collect();
        function.call_raw(&within, None, args)
    })
}
