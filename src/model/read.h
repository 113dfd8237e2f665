/* The four kinds of object, made from bodies: what X_init() does, but with all
 * faults and not only the first.  With a fault the struct is half made and
 * wants its X_done() all the same. */
#ifndef MODEL_READ_H
#define MODEL_READ_H

#include "model/body.h"
#include "model/model.h"

void variable_read(struct variable *, struct body *);
void variable_read_limits(struct variable *, struct body *);	/* part of it */
/* What is wrong with the name of an argument ("is ..."), or NULL. */
const char *variable_arg_fault(const char *name);
void evidence_read(struct evidence *, struct body *);
void event_read(struct event *, struct body *);
void reaction_read(struct reaction *, struct body *);

#endif
