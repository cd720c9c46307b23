/* Names the types whose layout is measured; compiled for its debug information only, never run. */

#define PERL_CORE 1
#include "EXTERN.h"
#include "perl.h"

enum triage_perl {
	PERL_OP_NEXTSTATE = OP_NEXTSTATE,
	PERL_OP_DBSTATE = OP_DBSTATE,
	PERL_OP_SCOPE = OP_SCOPE,
	PERL_SUB = CXt_SUB,
	PERL_FORMAT = CXt_FORMAT,
	PERL_EVAL = CXt_EVAL,
	PERL_NULL = CXt_NULL,
#ifdef CXp_EVALBLOCK
	PERL_EVAL_BLOCK = CXp_EVALBLOCK,
#else
	PERL_EVAL_BLOCK = CXp_TRYBLOCK, /* its name up to 5.32 */
#endif
	PERL_NAMED = CVf_NAMED,
	PERL_POK = SVf_POK,
	PERL_NOK = SVf_NOK,
	PERL_IOK = SVf_IOK,
	PERL_ROK = SVf_ROK,
	PERL_GV = SVt_PVGV,
	PERL_AV = SVt_PVAV,
	PERL_HV = SVt_PVHV,
	PERL_CV = SVt_PVCV,
	PERL_VERSION_NUMBER = PERL_REVISION * 1000000 + PERL_VERSION * 1000 + PERL_SUBVERSION,
};

/* Names of up to three letters stand in the debug information itself, where they are not looked for. */
typedef struct cop triage_cop;
typedef struct op triage_op;
typedef struct sv triage_sv;
typedef struct xpv triage_xpv;
typedef struct gp triage_gp;
typedef struct he triage_he;
typedef struct hek triage_hek;
