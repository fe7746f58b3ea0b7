// Generated from src/steps/rollback.ts by `npm run generate`. Do not edit.

Map call(Object... given) {
    return crosscloud.step(
        given,
        variable: 'crosscloudRollback',
        name: 'rollback',
        inputs: ['env', 'to', 'config', 'reason', 'force', 'breakGlass', 'acrossMigration', 'without', 'lockWait', 'plan'],
        attempts: 3
    )
}
