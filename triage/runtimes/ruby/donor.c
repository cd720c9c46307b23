/* Names the types whose layout is measured; compiled for its debug information only, never run. */

#include "ruby/ruby.h"
#include "vm_core.h"
#include "iseq.h"

enum triage_ruby {
	RUBY_METHOD = VM_FRAME_MAGIC_METHOD,
	RUBY_BLOCK = VM_FRAME_MAGIC_BLOCK,
	RUBY_CLASS = VM_FRAME_MAGIC_CLASS,
	RUBY_TOP = VM_FRAME_MAGIC_TOP,
	RUBY_CFUNC = VM_FRAME_MAGIC_CFUNC,
	RUBY_IFUNC = VM_FRAME_MAGIC_IFUNC,
	RUBY_EVAL = VM_FRAME_MAGIC_EVAL,
	RUBY_RESCUE = VM_FRAME_MAGIC_RESCUE,
	RUBY_DUMMY = VM_FRAME_MAGIC_DUMMY,
	RUBY_MASK = VM_FRAME_MAGIC_MASK,
	RUBY_LAST_OPERATOR = tLAST_OP_ID,
	RUBY_SCOPE_SHIFT = ID_SCOPE_SHIFT,
	RUBY_FINISH = VM_FRAME_FLAG_FINISH,
	RUBY_STRING = RUBY_T_STRING,
	RUBY_ARRAY = RUBY_T_ARRAY,
	RUBY_STRING_APART = RSTRING_NOEMBED,
	RUBY_ARRAY_INSIDE = RARRAY_EMBED_FLAG,
};

/* Names of up to three letters, or of nameless structures, stand in the debug information where they are not
   looked for. */
typedef rb_vm_t triage_vm;
typedef rb_thread_t triage_thread;
typedef rb_execution_context_t triage_context;
typedef rb_control_frame_t triage_frame;
typedef rb_iseq_t triage_code;
typedef struct rb_iseq_constant_body triage_body;
typedef struct iseq_insn_info_entry triage_line;
typedef rb_method_entry_t triage_method;
typedef rb_callable_method_entry_t triage_callable;
typedef rb_method_definition_t triage_definition;
typedef struct RString triage_string;
typedef struct RArray triage_array;
